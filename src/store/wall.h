/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * wall.h
 *		Row-level security of partitions.
 */
#ifndef SN_WALL_H
#define SN_WALL_H

#include "postgres.h"

#include "nodes/parsenodes.h"

#include "store/store.h"

extern bool sn_wall_wanted(SnRel parent);
extern void sn_wall_make(const char *name);
extern bool sn_wall_step(void);

extern bool sn_wall_may_rise(Oid relid, bool force);
extern bool sn_wall_is_policy(const CreatePolicyStmt *stmt, Oid relid);

#endif							/* SN_WALL_H */
