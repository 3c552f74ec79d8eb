/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * ours.h
 *		Which objects of a command are the extension's, and how a command on
 *		them is refused.
 */
#ifndef SN_OURS_H
#define SN_OURS_H

#include "postgres.h"

#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"

#include "base/compat.h"

extern bool sn_is_member(Oid class, Oid object);
extern bool sn_is_our_relation(Oid relid);
extern Oid	sn_our_relation(const RangeVar *name);
extern bool sn_is_our_object(ObjectType type, Node *name);
extern void sn_refuse(const char *what, Oid relid) pg_attribute_noreturn();
extern void sn_refuse_alter(const char *what, Oid relid, const char *hint)
			pg_attribute_noreturn();
extern void sn_refuse_object(const char *command, const char *name)
			pg_attribute_noreturn();

#endif							/* SN_OURS_H */
