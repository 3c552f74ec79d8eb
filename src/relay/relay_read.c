/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_read.c
 *		What comes next in the lanes of a relay.
 *
 * First the lanes say which events are wanted, then their rows are fetched in
 * the order in which they lie in the log: the lanes' events are mixed there, so
 * that a page is looked up once for all of its rows, and pages follow each
 * other.  What comes out is in the lanes' order again.
 *
 * What is read is the stream of the relay's filter.  Where that stream did not
 * have its events yet, they are found in the one of all events; those that the
 * relay does not send are done as soon as they are pushed, so that positions
 * pass them.
 *
 * An event whose row is gone, because its partition was dropped by hand, is
 * passed over.  One that cannot be read is found by reading all of them again
 * one by one, and goes on with the error in place of a payload.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/datum.h"
#include "utils/snapmgr.h"

#include "log/log_read.h"
#include "queue/lane.h"
#include "queue/wanted.h"
#include "relay/relay_event.h"
#include "relay/relay_process.h"
#include "relay/relay_transform.h"

#define EVENT_COST	256			/* bytes of an event beside its payload */

#define FIRST_WANTS 1024		/* room to begin with */

/* An event that is to be fetched */
typedef struct Want
{
	int			lane;
	bool		seen;			/* its row was looked for */
	SnPos		next_pos;
	pg_uuid_t	id;
	ItemPointerData row_tid;
	const SnFilter *filter;		/* that it still has to pass; or NULL */
	Datum	   *values;			/* its row, which a transform gets; or NULL */
	bool	   *nulls;
	SnRelayEvent *event;		/* NULL: not there */
} Want;

/* Where a wanted event's row is, and its number */
typedef struct Order
{
	uint64		tid;
	int			want;
} Order;

struct SnRelayReader
{
	Snapshot	snapshot;
	SnStreamReader *stream;
	SnSub	   *sub;
	StringInfoData json;
	Size		max_text;		/* of a payload */
	Want	   *wants;			/* lane after lane, each in its order */
	int			nwants;
	int			room;			/* of wants */
};

#define ST_SORT sort_by_tid
#define ST_ELEMENT_TYPE Order
#define ST_COMPARE(a, b) \
	((a)->tid < (b)->tid ? -1 : (a)->tid > (b)->tid)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * sn_relay_read_begin: read for a subscription under a snapshot taken now;
 * payloads of more text than max_text cannot be sent.  Nothing else asks for
 * subscriptions before the end, so that what is known of this one stays.
 */
SnRelayReader *
sn_relay_read_begin(int sub_id, Size max_text)
{
	SnRelayReader *reader = palloc0(sizeof(SnRelayReader));

	for (;;)
	{
		reader->sub = sn_relay_find_sub(sub_id);
		reader->snapshot = RegisterSnapshot(GetLatestSnapshot());
		if (sn_subs_current())
			break;				/* the snapshot shows no other filter */
		UnregisterSnapshot(reader->snapshot);
	}
	reader->stream = sn_stream_begin();
	sn_sub_sources(reader->sub, reader->snapshot);
	reader->max_text = max_text;
	initStringInfo(&reader->json);
	reader->room = FIRST_WANTS;
	reader->wants = palloc(reader->room * sizeof(Want));
	return reader;
}

/* sn_relay_stored_pos: how far a lane was acknowledged, or moved */
SnPos
sn_relay_stored_pos(SnRelayReader *reader, int lane)
{
	SnLaneState state;

	sn_lane_read(reader->sub, lane, reader->snapshot, &state);
	return state.pos;
}

void
sn_relay_read_end(SnRelayReader *reader)
{
	sn_stream_end(reader->stream);
	UnregisterSnapshot(reader->snapshot);
}

/* add_want: room for another event */
static Want *
add_want(SnRelayReader *reader)
{
	if (reader->nwants == reader->room)
	{
		reader->room *= 2;
		reader->wants = repalloc(reader->wants, reader->room * sizeof(Want));
	}
	return &reader->wants[reader->nwants++];
}

/*
 * sn_relay_want: the next events of a lane, at most max, are to be fetched.
 * Returns how many; *more says whether it stopped before it had seen the end
 * of the lane.
 */
int
sn_relay_want(SnRelayReader *reader, int lane, SnPos pos, int max, bool *more)
{
	SnPos		at;
	pg_uuid_t	id;
	int			n;

	*more = true;
	sn_stream_seek(reader->stream, reader->sub->sources,
				   reader->sub->nsources, lane, SN_TRACK_COMMON, pos,
				   reader->snapshot);
	for (n = 0; n < max; n++)
	{
		Want	   *want;

		if (!sn_stream_next(reader->stream, &at, &id))
		{
			*more = false;
			break;
		}
		want = add_want(reader);
		want->lane = lane;
		want->seen = false;
		want->next_pos = at + 1;
		want->id = id;
		want->row_tid = reader->stream->row_tid;
		want->filter = reader->stream->filter;
		want->event = NULL;
		want->values = NULL;
	}
	return n;
}

/*
 * copy_for_transform: copy a row for a transform, which is called when nothing is read any
 * more: it may ask for anything, and what is known of subscriptions has to stay
 * until then.  Returns its size.
 */
static size_t
copy_for_transform(Want *want, TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	size_t		size = EVENT_COST;
	int			i;

	want->values = palloc(desc->natts * sizeof(Datum));
	want->nulls = palloc(desc->natts * sizeof(bool));
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		want->values[i] = slot->tts_values[i];
		want->nulls[i] = slot->tts_isnull[i];
		if (want->nulls[i] || att->attbyval)
			continue;
		if (att->attlen == -1)
		{
			want->values[i] =
				PointerGetDatum(PG_DETOAST_DATUM_COPY(want->values[i]));
			size += VARSIZE(DatumGetPointer(want->values[i]));
		}
		else
			want->values[i] = datumCopy(want->values[i], false, att->attlen);
	}
	return size;
}

/* fetch_event: the event that is wanted, if it is there; returns its size */
static size_t
fetch_event(SnRelayReader *reader, SnLogReader *log, Want *want)
{
	bool		isnull;

	CHECK_FOR_INTERRUPTS();
	want->seen = true;
	if (!sn_log_fetch_at(log, &want->id, &want->row_tid))
		return 0;
	if (!sn_in_filter(reader->sub, want->filter, log))
	{
		want->event = sn_relay_other_event(&want->id);
		return EVENT_COST;
	}
	sn_log_require(log);
	(void) sn_log_datum(log, Anum_log_payload, &isnull);
	(void) sn_log_datum(log, Anum_log_metadata, &isnull);
	slot_getallattrs(log->slot);
	if (sn_relay.settings.rules != NULL &&
		sn_relay.settings.rules->transform != NULL)
		return copy_for_transform(want, log->slot);
	want->event = sn_relay_event(log->slot->tts_values, log->slot->tts_isnull,
								 &reader->json, reader->max_text);
	return want->event->event.payload_len + EVENT_COST;
}

/* order_of: numbers of the wanted events by where their rows are */
static Order *
order_of(const SnRelayReader *reader)
{
	Order	   *order = palloc(reader->nwants * sizeof(Order));
	int			i;

	for (i = 0; i < reader->nwants; i++)
	{
		const ItemPointerData *row_tid = &reader->wants[i].row_tid;

		order[i].want = i;
		order[i].tid =
			(uint64) ItemPointerGetBlockNumberNoCheck(row_tid) << 16 |
			ItemPointerGetOffsetNumberNoCheck(row_tid);
	}
	sort_by_tid(order, reader->nwants);
	return order;
}

/* What a fetch has to do, and how far it came */
typedef struct Fetch
{
	SnRelayReader *reader;
	const Order *order;
	int			n;
	size_t		bytes;			/* to be fetched yet */
} Fetch;

/* fetch_all: fetch as much as the bytes go */
static void
fetch_all(void *arg)
{
	Fetch	   *f = arg;
	SnLogReader *log = sn_log_begin(f->reader->snapshot);
	int			i;

	for (i = 0; i < f->n && f->bytes > 0 &&
		 log->nparts < SN_LOG_PARTS_MAX; i++)
		f->bytes -= Min(f->bytes,
						fetch_event(f->reader, log,
									&f->reader->wants[f->order[i].want]));
	sn_log_end(log);
}

/* fetch_one: the same for one, that may turn out not to be readable */
static void
fetch_one(SnRelayReader *reader, int want)
{
	Order		order = {0, want};
	Fetch		f = {reader, &order, 1, 1};
	char	   *error;

	if (!sn_relay_guarded(fetch_all, &f, &error))
		reader->wants[want].event =
			sn_relay_bad_event(&reader->wants[want].id, error);
}

/* fetch_singly: one by one, as there is one that cannot be read */
static void
fetch_singly(SnRelayReader *reader, size_t bytes)
{
	int			i;

	for (i = 0; i < reader->nwants; i++)
	{
		reader->wants[i].seen = false;
		reader->wants[i].event = NULL;
		reader->wants[i].values = NULL;
	}
	for (i = 0; i < reader->nwants && bytes > 0; i++)
	{
		fetch_one(reader, i);
		bytes -= Min(bytes, EVENT_COST);
		if (reader->wants[i].event != NULL)
			bytes -= Min(bytes, reader->wants[i].event->event.payload_len);
	}
}

/* An event that a transform gets */
typedef struct Making
{
	SnRelayReader *reader;
	Want	   *want;
} Making;

/* make_wanted: the event of a row that was kept */
static void
make_wanted(void *arg)
{
	Making	   *m = arg;

	m->want->event = sn_relay_event(m->want->values, m->want->nulls,
									&m->reader->json, m->reader->max_text);
}

/*
 * make_kept: the events of the rows that were kept, one by one; when that has
 * taken long enough the rest is read again later
 */
static void
make_kept(SnRelayReader *reader)
{
	bool		any = false;
	char	   *error;
	int			i;

	for (i = 0; i < reader->nwants; i++)
	{
		Making		m = {reader, &reader->wants[i]};

		if (m.want->values == NULL)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (any && sn_transform_late())
		{
			m.want->seen = false;
			continue;
		}
		any = true;
		if (!sn_relay_guarded(make_wanted, &m, &error))
		{
			initStringInfo(&reader->json);
			m.want->event = sn_relay_bad_event(&m.want->id, error);
		}
	}
}

/*
 * sn_relay_fetch: the wanted events, lane after lane, as far as so many bytes
 * go, but one at least; lanes of which some had to be left are added to *left.
 */
List *
sn_relay_fetch(SnRelayReader *reader, size_t bytes, uint64 *left)
{
	Fetch		f = {reader, order_of(reader), reader->nwants, bytes};
	List	   *events = NIL;
	uint64		cut = 0;
	char	   *error;
	int			i;

	if (!sn_relay_guarded(fetch_all, &f, &error))
		fetch_singly(reader, bytes);
	else if (reader->nwants > 0 && !reader->wants[0].seen)
		fetch_one(reader, 0);
	make_kept(reader);
	for (i = 0; i < reader->nwants; i++)
	{
		Want	   *want = &reader->wants[i];
		uint64		bit = UINT64CONST(1) << want->lane;

		if (!want->seen)
			cut |= bit;
		else if (want->event != NULL && (cut & bit) == 0)
		{
			want->event->lane = want->lane;
			want->event->next_pos = want->next_pos;
			events = lappend(events, want->event);
		}
	}
	*left |= cut;
	return events;
}
