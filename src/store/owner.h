/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * owner.h
 *		Work on tables is done as their owner.
 */
#ifndef SN_OWNER_H
#define SN_OWNER_H

#include "postgres.h"

#include "utils/rel.h"

/* Who the work is done for; an error brings him back by itself */
typedef struct SnCaller
{
	Oid			user;
	int			context;
} SnCaller;

extern void sn_become_role(Oid role, SnCaller *caller);
extern void sn_become_owner(Relation rel, SnCaller *caller);
extern void sn_become_tables_owner(SnCaller *caller);
extern void sn_become_caller(const SnCaller *caller);
extern void sn_work_as_owner(void);

#endif							/* SN_OWNER_H */
