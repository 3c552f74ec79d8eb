/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * xact_end.h
 *		What happens to the shared hints when a transaction ends.
 */
#ifndef SN_XACT_END_H
#define SN_XACT_END_H

#include "postgres.h"

#include "shared/shmem.h"

/* Forgets what a subtransaction has buffered; of InvalidSubTransactionId, all */
typedef void (*SnForget) (SubTransactionId subid);

extern void sn_note_published(void);
extern void sn_sub_touched(SnSubSlot *slot, SnTracks tracks, SnTracks busy,
						   uint64 behind);
extern void sn_note_buffered(SnForget forget);
extern void sn_note_relay_change(void);
extern void sn_note_relays_changed(void);
extern void sn_note_weights_changed(void);
extern bool sn_weights_noted(void);
extern void sn_wake_prepared_ended(void);

#endif							/* SN_XACT_END_H */
