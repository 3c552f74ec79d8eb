/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outbox.h
 *		The foreign table outbox: its columns, and the rows put into it.
 */
#ifndef SN_OUTBOX_H
#define SN_OUTBOX_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "foreign/fdwapi.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/uuid.h"

/* columns, in the order of sql/42_log_outbox.sql */
enum
{
	OUTBOX_ID, OUTBOX_TENANT_ID, OUTBOX_AGGREGATETYPE, OUTBOX_AGGREGATEID,
	OUTBOX_TYPE, OUTBOX_PAYLOAD, OUTBOX_METADATA, OUTBOX_COLUMNS
};

/* What becomes of a row that is put into it */
typedef struct SnOutboxRow
{
	bool		late;			/* in: nobody asks for its id */
	bool		unless_present; /* in: a repeated id is no error */
	pg_uuid_t	id;				/* out, unless late */
	Jsonb	   *payload;		/* out, as it is stored; so is metadata */
	Jsonb	   *metadata;		/* out */
} SnOutboxRow;

/* outbox.c */
extern bool sn_outbox_put(TupleTableSlot *slot, SnOutboxRow *row);
extern void sn_outbox_write(void);

/* outbox_plan.c */
extern void sn_outbox_check(Relation rel);
#define OUTBOX_GIVEN 2			/* $1 and $2: ids given, and their events' */
extern void sn_outbox_plan(FdwRoutine *routine);

/* outbox_read.c */
extern void sn_outbox_read(FdwRoutine *routine);

#endif							/* SN_OUTBOX_H */
