/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * ledger.h
 *		event_processing: what each worker type has finished.
 */
#ifndef SN_LEDGER_H
#define SN_LEDGER_H

#include "postgres.h"

#include "utils/snapshot.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* A row of the ledger */
typedef struct SnLedgerRow
{
	pg_uuid_t	event_id;
	const text *worker_type;
	const text *tenant_id;		/* the last three may be NULL */
	const text *aggregate_id;
	const text *worker_id;
	bool		completed;		/* or "processing" */
	int			attempt;
	TimestampTz processed_at;
} SnLedgerRow;

struct SnLedgerWriter;
typedef struct SnLedgerWriter SnLedgerWriter;

extern SnLedgerWriter *sn_ledger_begin(void);
extern void sn_ledger_complete(SnLedgerWriter *writer,
							   const SnLedgerRow *row);
extern void sn_ledger_end(SnLedgerWriter *writer);
extern bool sn_ledger_completed(const pg_uuid_t *event_id,
								const text *worker_type, Snapshot snapshot,
								TimestampTz *processed_at);

#endif							/* SN_LEDGER_H */
