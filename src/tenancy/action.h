/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * action.h
 *		What people changed: rows of action_log.
 */
#ifndef SN_ACTION_H
#define SN_ACTION_H

#include "postgres.h"

#include "utils/jsonb.h"

/* A change; what is NULL is null in the row.  The roles and the time are added */
typedef struct SnAction
{
	const char *action;			/* the function's name, as "grant_tenant" */
	const text *tenant_id;		/* NULL: of no tenant, or of every one */
	const char *object;			/* what was changed, as a text */
	Jsonb	   *before;
	Jsonb	   *after;
	const text *actor;			/* who says to do it; NULL: the session's role */
	const text *reason;
} SnAction;

extern void sn_action_record(const SnAction *action);

/* sn_action_json("role", role, "right", right, NULL): an object of strings */
extern Jsonb *sn_action_json(const char *name,...);

#endif							/* SN_ACTION_H */
