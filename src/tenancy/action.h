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

/* What holds from now on, and what is done once with what is there */
typedef enum SnActionKind
{
	SN_ACTION_CONFIGURES,
	SN_ACTION_ACTS
} SnActionKind;

/* A change; what is NULL is null in the row.  The roles and the time are added */
typedef struct SnAction
{
	const char *action;			/* the function's name, as "grant_tenant" */
	SnActionKind kind;
	const text *tenant_id;		/* "*": every one; NULL: none of its own, and no
								 * tenant's auditor sees it */
	const text *worker_type;	/* subscription that it is about, or NULL */
	const text *aggregate_id;	/* of the event that it is done with, or NULL */
	const char *object;			/* what was changed, as a text */
	Jsonb	   *before;
	Jsonb	   *after;
	const text *actor;			/* who says to do it; NULL: the session's role */
	const text *reason;
} SnAction;

/* The clock of events is above all of them: set by _PG_init() */
extern void (*sn_action_clock_ready) (void);

extern const char *const sn_action_kinds[];

extern text *sn_session_role(void);
extern void sn_action_record(const SnAction *action);

/* sn_action_json("role", role, "right", right, NULL): an object of strings */
extern Jsonb *sn_action_json(const char *name,...);
extern char *sn_action_value(Oid output, Datum value);

#endif							/* SN_ACTION_H */
