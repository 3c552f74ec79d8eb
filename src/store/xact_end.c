/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * xact_end.c
 *		What others see of a transaction once it has ended.
 *
 * A transaction that published counts itself in SnDatabase.commits and wakes
 * the sequencer, after its events have become visible to others.  One that
 * aborts sets again the pending bits it had cleared.  What a prepared
 * transaction did becomes visible at COMMIT PREPARED, perhaps in another
 * session: that command wakes the sequencer whatever the transaction did, and
 * its pending bits are set at PREPARE, and those of everybody when it ends.  A
 * relay whose switch is changed by a prepared transaction finds it by itself, a
 * little later.
 *
 * Nothing here may raise an error: the callbacks run when it is too late.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "store/xact_end.h"
#include "store/xact_watch.h"

PG_FUNCTION_INFO_V1(sentinai_wake_relay);

static SnDatabase *published = NULL;	/* this transaction published */
static SnForget forget = NULL;	/* of what this transaction has buffered */
static bool relays_noted = false;	/* there are others than before */
static bool relay_noted = false;	/* this transaction changed what relays do */
static bool weights_noted = false;	/* this transaction changed what weights are
									 * made from */

/* Sets of a subscription from which this transaction has taken lanes */
typedef struct Touched
{
	SnSubSlot  *slot;
	SnTracks	tracks;			/* of which it may have something new */
	SnTracks	busy;			/* that may be busy */
	uint64		behind;			/* lanes of behind_common */
} Touched;

static Touched touched[SN_MAX_SUBS];
static int	ntouched = 0;

/* wake_sequencer: one more transaction with events is visible */
static void
wake_sequencer(SnDatabase *db)
{
	pg_atomic_fetch_add_u64(&db->commits, 1);
	sn_set_latch_of(db->sequencer_procno, db->sequencer_pid);
}

/*
 * restore_pending: the lanes that were looked at have to be looked at again, in the
 * tracks that were.  In others the hints are as good as before: of many tracks each
 * one would seem to have something, and get turns for it.
 */
static void
restore_pending(void)
{
	int			i;

	for (i = 0; i < ntouched; i++)
	{
		SnSubSlot  *slot = touched[i].slot;
		int			track;

		foreach_track(track, touched[i].busy)
			pg_atomic_write_u64(&slot->busy[track], PG_UINT64_MAX);
		foreach_track(track, touched[i].tracks)
			pg_atomic_write_u64(&slot->tracks[track], PG_UINT64_MAX);
		(void) pg_atomic_fetch_or_u64(&slot->behind_common, touched[i].behind);
		pg_atomic_write_u64(&slot->pending, PG_UINT64_MAX);
		if (pg_atomic_read_u32(&slot->waiters) > 0)
			ConditionVariableBroadcast(&slot->cv);
	}
}

/* tell_relays_changed: the sequencer has to tell the launcher */
static void
tell_relays_changed(void)
{
	SnDatabase *db = sn_database_find();

	if (db == NULL)
		return;
	pg_atomic_write_u32(&db->relays_changed, 1);
	sn_set_latch_of(db->sequencer_procno, db->sequencer_pid);
}

static void
wake_xact_end(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (published != NULL)
				wake_sequencer(published);
			if (relay_noted)
				sn_wake_relays(0, true);
			if (relays_noted)
				tell_relays_changed();
			if (weights_noted)
				sn_weights_forget();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			restore_pending();
			break;
		default:
			return;
	}
	if (forget != NULL)
		forget(InvalidSubTransactionId);
	published = NULL;
	forget = NULL;
	relay_noted = relays_noted = weights_noted = false;
	ntouched = 0;
}

static void
wake_subxact_end(SubXactEvent event, SubTransactionId subid)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	restore_pending();
	if (forget != NULL)
		forget(subid);
}

static SnXactWatch watch = {.end = wake_xact_end,.sub_end = wake_subxact_end};

/* sn_note_published: this transaction wrote events */
void
sn_note_published(void)
{
	if (published != NULL)
		return;
	sn_watch_xacts(&watch);
	published = sn_database();
}

/* sn_note_buffered: this transaction has rows in a buffer, to be forgotten */
void
sn_note_buffered(SnForget how)
{
	sn_watch_xacts(&watch);
	forget = how;
}

/* sn_note_relay_change: this transaction changed something that relays look at */
void
sn_note_relay_change(void)
{
	sn_watch_xacts(&watch);
	relay_noted = true;
}

/* sn_note_relays_changed: this transaction made or removed a relay, or such */
void
sn_note_relays_changed(void)
{
	sn_watch_xacts(&watch);
	relays_noted = true;
}

/*
 * sn_note_weights_changed: this transaction changed weights, or who has which
 * track
 */
void
sn_note_weights_changed(void)
{
	sn_watch_xacts(&watch);
	weights_noted = true;
}

/* sn_weights_noted: whether it did, so that what it sees is not everybody's */
bool
sn_weights_noted(void)
{
	return weights_noted;
}

/* wake_relay(): for SQL functions that change the switch */
Datum
sentinai_wake_relay(PG_FUNCTION_ARGS)
{
	sn_note_relay_change();
	PG_RETURN_VOID();
}

/*
 * sn_sub_touched: this transaction has cleared pending bits of a subscription, or
 * bits of these tracks' sets, or these of behind_common
 */
void
sn_sub_touched(SnSubSlot *slot, SnTracks tracks, SnTracks busy, uint64 behind)
{
	int			i = 0;

	sn_watch_xacts(&watch);
	while (i < ntouched && touched[i].slot != slot)
		i++;
	if (i == SN_MAX_SUBS)
		return;
	if (i == ntouched)
	{
		memset(&touched[i], 0, sizeof(Touched));
		touched[ntouched++].slot = slot;
	}
	touched[i].tracks |= tracks;
	touched[i].busy |= busy;
	touched[i].behind |= behind;
}

/* sn_wake_prepared_ended: a prepared transaction was committed, perhaps with events */
void
sn_wake_prepared_ended(void)
{
	SnDatabase *db = sn_database_find();

	if (db != NULL)
		wake_sequencer(db);
	sn_weights_forget();
}
