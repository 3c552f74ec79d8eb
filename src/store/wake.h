/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * wake.h
 *		What happens to the shared hints when a transaction ends.
 */
#ifndef SN_WAKE_H
#define SN_WAKE_H

#include "postgres.h"

#include "shared/shmem.h"

/* Forgets what a subtransaction has buffered; of InvalidSubTransactionId, all */
typedef void (*SnForget) (SubTransactionId subid);

extern void sn_note_published(void);
extern void sn_sub_touched(SnSubSlot *slot);
extern void sn_note_buffered(SnForget forget);
extern void sn_note_relay(void);
extern void sn_wake_prepared(void);

#endif							/* SN_WAKE_H */
