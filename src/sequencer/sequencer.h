/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sequencer.h
 *		Rounds: how committed events come into their order.
 */
#ifndef SN_SEQUENCER_H
#define SN_SEQUENCER_H

#include "postgres.h"

#include "utils/snapshot.h"
#include "utils/timestamp.h"

/* What a round did */
typedef struct SnRound
{
	int64		round_no;		/* 0: nothing was new */
	int64		events;
} SnRound;

extern bool sn_round_inline(void);
extern bool sn_round_taken(void);
extern bool sn_round_waits(void);
extern bool sn_sequencer_running(void);

/* for the sequencer process */
extern bool sn_round_awaited(uint64 commits);
extern bool sn_round_take(SnRound *round);
extern void sn_round_wake(void);
extern void sn_round_leave(void);
extern TimestampTz sn_round_next_due(void);

#endif							/* SN_SEQUENCER_H */
