/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * holder.h
 *		Who holds a table that somebody wants to himself.
 */
#ifndef SN_HOLDER_H
#define SN_HOLDER_H

#include "postgres.h"

#include "nodes/pg_list.h"

extern bool sn_held_for_long(Oid relid);
extern List *sn_holders(List *relids);
extern List *sn_dependents(List *relids);

#endif							/* SN_HOLDER_H */
