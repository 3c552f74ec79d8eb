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
extern bool sn_watch_standbys(void);
extern XLogRecPtr sn_wal_end(void);
extern void sn_wait_confirmed(XLogRecPtr end);

#endif							/* SN_DURABLE_H */
