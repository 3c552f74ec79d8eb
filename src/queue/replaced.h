/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * replaced.h
 *		Events that have taken the place of a dead letter.
 */
#ifndef SN_REPLACED_H
#define SN_REPLACED_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "store/store.h"

extern void sn_replaced_note(const text *worker_type, const pg_uuid_t *event_id,
							 const pg_uuid_t *by);
extern bool sn_replaced_has(const text *worker_type, const pg_uuid_t *by,
							Snapshot snapshot);
extern bool sn_replaced_last(const text *worker_type, Snapshot snapshot,
							 pg_uuid_t *by);
extern void sn_replaced_forget(const text *worker_type, Snapshot snapshot);

#endif							/* SN_REPLACED_H */
