/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * idempotency.h
 *		A key under which an event is published once.
 */
#ifndef SN_IDEMPOTENCY_H
#define SN_IDEMPOTENCY_H

#include "postgres.h"

#include "log/event.h"

#define SN_IDEMPOTENCY_KEY_MAX 512	/* bytes */

extern int64 sn_idempotency_body(const SnEvent *event);
extern bool sn_idempotency_take(const SnEvent *event, text *key, int64 body_hash,
								pg_uuid_t *id);

#endif							/* SN_IDEMPOTENCY_H */
