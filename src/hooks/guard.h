/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * guard.h
 *		What ALTER TABLE may add to the extension's tables.
 */
#ifndef SN_GUARD_H
#define SN_GUARD_H

#include "postgres.h"

#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"

extern void sn_guard_constraint(const Constraint *constraint, Oid relid);
extern void sn_guard_partition(const RangeVar *name, Oid parent);

#endif							/* SN_GUARD_H */
