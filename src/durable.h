/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * durable.h
 *		Waiting until a commit can no longer be taken back.
 */
#ifndef SN_DURABLE_H
#define SN_DURABLE_H

#include "postgres.h"

#include "access/xlogdefs.h"

extern void sn_require_sync_commit(void);
extern void sn_wait_confirmed(XLogRecPtr commit);

#endif							/* SN_DURABLE_H */
