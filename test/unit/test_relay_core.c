/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_relay_core.c
 *		The relay's core against a broker made of arrays: order, positions,
 *		sending again, isolation, refusal, breaker, bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/relay_core.h"

#define MAX_LOG 4096
#define LANES 4

/* A broker that stores what the test lets it store */
struct SnBroker
{
	uint64_t	queue[MAX_LOG]; /* sent, not answered, in order */
	char		ids[MAX_LOG][40];	/* event ids of the queue */
	int			queued;
	SnBrokerReport reports[MAX_LOG];
	int			nreports;
	char		stored[MAX_LOG][40];
	int			nstored;
	int			restarts;
	bool		isolate;
	bool		stopped;
	int			full_after;		/* send() says FULL beyond so many queued */
	const char *refuse_topic;	/* create_topic() answers REFUSED */
	const char *no_topic;		/* send() answers NO_TOPIC */
	const char *refuse_id;		/* this event is never taken */
	const char *later_id;		/* this event has to wait for an answer */
	uint64_t	failures;
	bool		topics_away;	/* create_topic() answers RETRY */
	bool		topics_silent;	/* create_topic() gets no answer */
	int			topics_asked;
	int64_t		stalled_ms;
};

static SnBroker fake;

static void
add_report(SnReportKind kind, SnReportStatus status, bool alone, uint64_t op)
{
	SnBrokerReport *r = &fake.reports[fake.nreports++];

	memset(r, 0, sizeof(*r));
	r->kind = kind;
	r->status = status;
	r->alone = alone;
	r->opaque = op;
	r->error = status == SN_REPORT_OK ? NULL : "fake error";
}

static SnBroker *
fake_open(const SnBrokerConfig *config, char *err, size_t err_len)
{
	return &fake;
}

static SnSendResult
fake_send(SnBroker *b, const SnRecord *record, char *err, size_t err_len)
{
	int			i;

	snprintf(err, err_len, "fake error");
	if (b->stopped)
		return SN_SEND_STOPPED;
	if (b->queued >= b->full_after)
		return SN_SEND_FULL;
	if (b->no_topic && strcmp(record->topic, b->no_topic) == 0)
		return SN_SEND_NO_TOPIC;
	b->ids[b->queued][0] = '\0';
	for (i = 0; i < record->nheaders; i++)
		if (strcmp(record->headers[i].name, "id") == 0 ||
			strcmp(record->headers[i].name, "ce_id") == 0)
			snprintf(b->ids[b->queued], 40, "%.*s",
					 (int) record->headers[i].value_len,
					 record->headers[i].value);
	assert_true(b->ids[b->queued][0] != '\0');
	if (b->refuse_id && strcmp(b->ids[b->queued], b->refuse_id) == 0)
		return SN_SEND_REFUSED;
	if (b->later_id && strcmp(b->ids[b->queued], b->later_id) == 0)
		return SN_SEND_LATER;
	b->queue[b->queued++] = record->opaque;
	return SN_SEND_OK;
}

static int
fake_poll(SnBroker *b, int timeout_ms, SnBrokerReport *reports, int max)
{
	int			n = b->nreports < max ? b->nreports : max;

	memcpy(reports, b->reports, n * sizeof(SnBrokerReport));
	memmove(b->reports, b->reports + n,
			(b->nreports - n) * sizeof(SnBrokerReport));
	b->nreports -= n;
	return n;
}

static int
fake_wake_fd(const SnBroker *b)
{
	return 0;
}

/* answer: the broker treats the first n of its queue */
static void
answer(int n, SnReportStatus status, bool alone)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if (status == SN_REPORT_OK)
			strcpy(fake.stored[fake.nstored++], fake.ids[i]);
		add_report(SN_REPORT_RECORD, status, alone, fake.queue[i]);
	}
	memmove(fake.queue, fake.queue + n, (fake.queued - n) * sizeof(uint64_t));
	memmove(fake.ids, fake.ids + n, (fake.queued - n) * 40);
	fake.queued -= n;
}

static void
fake_purge(SnBroker *b, bool inflight)
{
	if (inflight)
		answer(b->queued, SN_REPORT_RETRY, false);
}

static bool
fake_restart(SnBroker *b, bool isolate, int timeout_ms, char *err,
			 size_t err_len)
{
	b->restarts++;
	b->isolate = isolate;
	b->stopped = false;
	return true;
}

static bool
fake_create_topic(SnBroker *b, const char *topic, int partitions,
				  int replication, uint64_t opaque, char *err, size_t err_len)
{
	b->topics_asked++;
	if (b->topics_silent)
		return true;
	add_report(SN_REPORT_TOPIC, b->topics_away ? SN_REPORT_RETRY :
			   b->refuse_topic && strcmp(topic, b->refuse_topic) == 0 ?
			   SN_REPORT_REFUSED : SN_REPORT_OK, false, opaque);
	return true;
}

static void
fake_health(SnBroker *b, SnBrokerHealth *health)
{
	memset(health, 0, sizeof(*health));
	health->stopped = b->stopped;
	health->failures = b->failures;
	health->stalled_ms = b->stalled_ms;
	health->last_error = "fake error";
}

static bool
fake_close(SnBroker *b, int timeout_ms)
{
	return true;
}

static const SnBrokerProvider provider = {
	.abi = SN_BROKER_ABI,
	.name = "fake",
	.open = fake_open,
	.send = fake_send,
	.poll = fake_poll,
	.wake_fd = fake_wake_fd,
	.purge = fake_purge,
	.restart = fake_restart,
	.create_topic = fake_create_topic,
	.health = fake_health,
	.close = fake_close,
};

static SnRelayCore *
open_core(int max_events, size_t max_bytes)
{
	SnRelayCoreConfig config = {0};
	char		err[256];
	SnRelayCore *core;

	memset(&fake, 0, sizeof(fake));
	fake.full_after = MAX_LOG;
	config.provider = &provider;
	config.format = SN_RECORD_CLOUDEVENTS;
	config.topic_template = "t.{aggregate_type}";
	config.database = "db";
	config.lanes = LANES;
	config.max_events = max_events;
	config.max_bytes = max_bytes;
	config.topic_partitions = 3;
	config.topic_replication = 1;
	config.breaker_failures = 3;
	config.breaker_open_ms = 1000;
	core = sn_relay_core_open(&config, err, sizeof(err));
	assert_non_null(core);
	return core;
}

static const char *
id_of(int n)
{
	static char id[40];

	snprintf(id, sizeof(id), "00000000-0000-7000-8000-%012d", n);
	return id;
}

static SnRecordEvent
event_of(int n, const char *aggregate_type)
{
	SnRecordEvent event = {0};

	event.event_id = id_of(n);
	event.event_type = "E";
	event.tenant_id = "T";
	event.aggregate_type = aggregate_type;
	event.aggregate_id = "k";
	event.schema_version = 1;
	event.payload = "{}";
	event.payload_len = 2;
	return event;
}

/* push_of: an event of a key, and of the topic t.<aggregate_type> */
static void
push_of(SnRelayCore *core, int n, int lane, const char *aggregate_type,
		const char *aggregate_id)
{
	SnRecordEvent event = event_of(n, aggregate_type);

	event.aggregate_id = aggregate_id;
	assert_true(sn_relay_core_push(core, lane, n + 1, &event, NULL));
}

static void
push_to(SnRelayCore *core, int n, int lane, const char *aggregate_type)
{
	push_of(core, n, lane, aggregate_type, "k");
}

static void
push(SnRelayCore *core, int n, int lane)
{
	push_to(core, n, lane, "a");
}

/* next_refused: the next news is that an event is refused */
static bool
next_refused(SnRelayCore *core, SnNews *news)
{
	return sn_relay_core_news(core, UINT64_MAX, news) &&
		news->kind == SN_NEWS_REFUSED;
}

static void
turns(SnRelayCore *core, int n, int64_t now)
{
	while (n-- > 0)
		(void) sn_relay_core_turn(core, now);
}

static void
assert_stored(int n, ...)
{
	va_list		ap;
	int			i;

	assert_int_equal(fake.nstored, n);
	va_start(ap, n);
	for (i = 0; i < n; i++)
		assert_string_equal(fake.stored[i], id_of(va_arg(ap, int)));
	va_end(ap);
}

static void
position_passes_only_what_is_done(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	int64_t		pos;

	push(core, 1, 0);
	push(core, 2, 1);
	push(core, 3, 0);
	turns(core, 2, 0);
	assert_int_equal(fake.queued, 3);
	assert_false(sn_relay_core_progress(core, 0, &pos));
	answer(2, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 2);
	assert_true(sn_relay_core_progress(core, 1, &pos));
	assert_int_equal(pos, 3);
	assert_false(sn_relay_core_progress(core, 1, &pos));
	answer(1, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 4);
	sn_relay_core_close(core, 0);
}

static void
all_after_a_lost_one_go_again_in_order(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	int64_t		pos;
	int			i;

	for (i = 1; i <= 4; i++)
		push(core, i, 0);
	turns(core, 2, 0);
	answer(1, SN_REPORT_OK, false);
	answer(1, SN_REPORT_RETRY, false);
	turns(core, 2, 0);
	assert_int_equal(fake.restarts, 1);
	assert_int_equal(fake.queued, 3);
	answer(3, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_stored(4, 1, 2, 3, 4);
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 5);
	sn_relay_core_close(core, 0);
}

static void
a_refused_batch_is_sent_one_by_one(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnNews		refused;
	int64_t		pos;
	int			i;

	for (i = 1; i <= 3; i++)
		push(core, i, 0);
	turns(core, 2, 0);
	answer(3, SN_REPORT_REFUSED, false);
	turns(core, 2, 0);
	assert_true(fake.isolate);
	assert_int_equal(sn_relay_core_room(core), 0);
	answer(1, SN_REPORT_OK, false);
	answer(1, SN_REPORT_REFUSED, true);
	turns(core, 2, 0);
	assert_false(fake.isolate);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_stored(2, 1, 3);
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 2);	/* not past the one that is not buried */
	assert_true(next_refused(core, &refused));
	assert_string_equal(refused.event_id, id_of(2));
	assert_string_equal(refused.error, "fake error");
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 4);
	assert_false(next_refused(core, &refused));
	sn_relay_core_close(core, 0);
}

static void
innocent_suspects_end_isolation(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);

	push(core, 1, 0);
	push(core, 2, 0);
	turns(core, 2, 0);
	answer(2, SN_REPORT_REFUSED, false);
	turns(core, 2, 0);
	assert_true(fake.isolate);
	answer(2, SN_REPORT_OK, true);
	turns(core, 2, 0);
	assert_false(fake.isolate);
	assert_true(sn_relay_core_room(core) > 0);
	assert_stored(2, 1, 2);
	sn_relay_core_close(core, 0);
}

static void
an_event_refused_at_once_leaves_the_others(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnNews		refused;
	char		id[40];
	int			i;

	strcpy(id, id_of(2));
	fake.refuse_id = id;
	for (i = 1; i <= 3; i++)
		push(core, i, 0);
	turns(core, 2, 0);
	answer(2, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_stored(2, 1, 3);
	assert_int_equal(fake.restarts, 0);
	assert_true(next_refused(core, &refused));
	assert_string_equal(refused.event_id, id);
	sn_relay_core_close(core, 0);
}

static void
full_queue_goes_on_where_it_stopped(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	int			i;

	fake.full_after = 2;
	for (i = 1; i <= 5; i++)
		push(core, i, 0);
	for (i = 0; i < 4; i++)
	{
		turns(core, 2, 0);
		answer(fake.queued, SN_REPORT_OK, false);
	}
	assert_stored(5, 1, 2, 3, 4, 5);
	sn_relay_core_close(core, 0);
}

static void
breaker_opens_and_tries_one(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnRelayCoreStats stats;
	int			i;

	for (i = 1; i <= 3; i++)
		push(core, i, 0);
	turns(core, 2, 0);
	fake.failures = 3;
	turns(core, 2, 10);
	sn_relay_core_stats(core, &stats);
	assert_int_equal(stats.breaker, SN_BREAKER_OPEN);
	assert_int_equal(fake.queued, 0);
	turns(core, 3, 500);
	assert_int_equal(fake.queued, 0);
	turns(core, 3, 1100);
	assert_int_equal(fake.queued, 1);
	answer(1, SN_REPORT_OK, false);
	turns(core, 2, 1110);
	sn_relay_core_stats(core, &stats);
	assert_int_equal(stats.breaker, SN_BREAKER_CLOSED);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 1, 1120);
	assert_stored(3, 1, 2, 3);
	sn_relay_core_close(core, 0);
}

static void
a_trial_is_not_spent_on_what_is_refused(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnRelayCoreStats stats;
	char		id[40];
	int			i;

	strcpy(id, id_of(1));
	fake.refuse_id = id;
	fake.failures = 3;
	turns(core, 1, 0);
	for (i = 1; i <= 3; i++)
		push(core, i, 0);
	turns(core, 2, 500);
	assert_int_equal(fake.queued, 0);
	turns(core, 4, 1100);
	assert_true(fake.queued > 0);
	answer(1, SN_REPORT_OK, false);
	turns(core, 2, 1100);
	sn_relay_core_stats(core, &stats);
	assert_int_equal(stats.breaker, SN_BREAKER_CLOSED);
	assert_int_equal(stats.refused, 1);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 1, 1100);
	assert_stored(2, 2, 3);
	sn_relay_core_close(core, 0);
}

static void
a_refusal_proves_that_the_broker_is_well(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnRelayCoreStats stats;

	push(core, 1, 0);
	turns(core, 2, 0);
	answer(1, SN_REPORT_OK, false);
	fake.failures = 3;
	turns(core, 1, 0);
	push(core, 2, 0);
	push(core, 3, 0);
	turns(core, 2, 1100);
	assert_int_equal(fake.queued, 1);
	answer(1, SN_REPORT_REFUSED, true);
	turns(core, 2, 1100);
	sn_relay_core_stats(core, &stats);
	assert_int_equal(stats.breaker, SN_BREAKER_CLOSED);
	assert_int_equal(fake.queued, 1);
	sn_relay_core_close(core, 0);
}

static void
an_answer_about_a_topic_closes_the_breaker(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnRelayCoreStats stats;

	fake.topics_away = true;
	fake.failures = 3;
	turns(core, 1, 0);
	push_of(core, 1, 0, "new", "k");
	push_of(core, 2, 0, "new", "k");
	turns(core, 2, 500);
	assert_int_equal(fake.topics_asked, 0);
	turns(core, 2, 1100);
	assert_int_equal(fake.topics_asked, 1);
	sn_relay_core_stats(core, &stats);
	assert_int_not_equal(stats.breaker, SN_BREAKER_CLOSED);
	fake.topics_away = false;
	turns(core, 3, 2200);
	sn_relay_core_stats(core, &stats);
	assert_int_equal(stats.breaker, SN_BREAKER_CLOSED);
	assert_int_equal(fake.queued, 2);
	sn_relay_core_close(core, 0);
}

static void
a_trial_is_not_spent_on_asking_for_a_topic(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);

	push(core, 1, 0);
	turns(core, 3, 0);
	answer(1, SN_REPORT_OK, false);
	fake.topics_away = true;
	fake.failures = 3;
	turns(core, 2, 0);
	push_of(core, 2, 0, "new", "k");
	push(core, 3, 1);
	turns(core, 4, 1100);
	assert_true(fake.topics_asked > 1);
	assert_int_equal(fake.queued, 1);	/* at once, of the topic that is there */
	turns(core, 4, 1100);
	assert_int_equal(fake.queued, 1);	/* and no second */
	sn_relay_core_close(core, 0);
}

static void
others_go_on_while_one_waits_for_an_answer(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	char		id[40];

	strcpy(id, id_of(2));
	fake.later_id = id;
	push_of(core, 1, 0, "a", "k");
	push_of(core, 2, 0, "a", "l");
	push_of(core, 3, 0, "a", "l");	/* not past the one of its key */
	push_of(core, 4, 0, "a", "m");
	turns(core, 3, 0);
	assert_int_equal(fake.queued, 2);
	assert_false(sn_relay_core_waits(core));
	fake.later_id = NULL;
	turns(core, 3, 0);
	assert_int_equal(fake.queued, 2);	/* there is no answer yet */
	answer(1, SN_REPORT_OK, false);
	fake.later_id = id;
	turns(core, 1, 0);
	assert_int_equal(fake.queued, 1);
	fake.later_id = NULL;
	assert_int_equal(sn_relay_core_turn(core, 50), 100);
	assert_int_equal(fake.queued, 1);
	turns(core, 1, 100);		/* without an answer, after a while */
	assert_int_equal(fake.queued, 3);
	assert_true(sn_relay_core_waits(core));
	answer(3, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_stored(4, 1, 4, 2, 3);
	sn_relay_core_close(core, 0);
}

static void
room_is_bounded_by_events_and_bytes(void **state)
{
	SnRelayCore *core = open_core(3, 1 << 20);

	assert_int_equal(sn_relay_core_room(core), 3);
	push(core, 1, 0);
	push(core, 2, 0);
	push(core, 3, 0);
	assert_int_equal(sn_relay_core_room(core), 0);
	turns(core, 2, 0);
	answer(1, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_int_equal(sn_relay_core_room(core), 1);
	sn_relay_core_close(core, 0);

	core = open_core(100, 10);
	push(core, 1, 0);
	assert_int_equal(sn_relay_core_room(core), 0);
	sn_relay_core_close(core, 0);
}

/* park_all: the host parks what is held, in all lanes; returns how many */
static int
park_all(SnRelayCore *core, int *ids)
{
	SnHeld		held;
	int			lane;
	int			n = 0;

	for (lane = 0; lane < LANES; lane++)
		while (sn_relay_core_held(core, lane, &held))
		{
			assert_string_not_equal(held.error, "");
			ids[n++] = atoi(held.event->event_id + 24);
			sn_relay_core_parked(core, lane);
		}
	return n;
}

/* give_back: push a parked event of the topic that is wanted */
static void
give_back(SnRelayCore *core, const SnWant *want, int n, int lane)
{
	SnRecordEvent event = event_of(n, want->topic + 2);

	assert_true(sn_relay_core_push_parked(core, want->number, lane, n, &event,
										  NULL));
}

/* arrived: how many parked events were acknowledged since */
static int
arrived(SnRelayCore *core)
{
	SnNews		news;
	int			n = 0;

	while (sn_relay_core_news(core, UINT64_MAX, &news))
	{
		assert_int_equal(news.kind, SN_NEWS_ARRIVED);
		n++;
	}
	return n;
}

static void
events_without_a_label_leave_the_position(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnRecordEvent event;
	SnNews		news;
	int64_t		pos;

	push(core, 1, 0);
	event = event_of(9, "x");
	assert_true(sn_relay_core_push_parked(core, -1, 0, 77, &event, NULL));
	turns(core, 2, 0);
	assert_false(sn_relay_core_news(core, UINT64_MAX, &news));
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 2, 0);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 2, 0);
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 2);
	assert_int_equal(sn_relay_core_news_in(core), 1);
	assert_false(sn_relay_core_news(core, 2, &news));
	assert_true(sn_relay_core_news(core, 1, &news));
	assert_int_equal(news.kind, SN_NEWS_ARRIVED);
	assert_string_equal(news.event_id, id_of(9));
	assert_int_equal(news.lane, 0);
	assert_int_equal(news.pos, 77);
	assert_false(sn_relay_core_news(core, UINT64_MAX, &news));
	sn_relay_core_close(core, 0);
}

static void
an_event_that_cannot_be_made_is_refused_in_its_order(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnRecordEvent event;
	SnNews		refused;
	int64_t		pos;

	push(core, 1, 0);
	event = event_of(2, "a");
	event.payload = NULL;
	event.payload_len = 0;
	assert_true(sn_relay_core_push(core, 0, 3, &event, "too deep"));
	push(core, 3, 0);
	turns(core, 2, 0);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_stored(2, 1, 3);
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 2);
	assert_true(next_refused(core, &refused));
	assert_string_equal(refused.event_id, id_of(2));
	assert_string_equal(refused.error, "too deep");
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 4);
	sn_relay_core_close(core, 0);
}

static void
topics_are_asked_for_once(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	int			i;

	for (i = 1; i <= 3; i++)
		push(core, i, 0);
	turns(core, 3, 0);
	assert_int_equal(fake.topics_asked, 1);
	assert_int_equal(fake.queued, 3);
	sn_relay_core_close(core, 0);
}

static void
topics_are_asked_for_one_at_a_time(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	char		name[16];
	int			i;

	push_to(core, 1, 0, "known");
	turns(core, 2, 0);
	fake.topics_silent = true;
	for (i = 0; i < 10; i++)
	{
		snprintf(name, sizeof(name), "new%d", i);
		push_to(core, 2 + i, 0, name);
	}
	push_to(core, 12, 1, "known");
	turns(core, 3, 0);
	assert_int_equal(fake.topics_asked, 2); /* the known one, and one more */
	assert_int_equal(fake.queued, 2);
	turns(core, 2, 1000);		/* nobody answers: one does not hold up all */
	assert_int_equal(fake.topics_asked, 11);
	sn_relay_core_close(core, 0);
}

static void
a_topic_that_may_not_be_made_gets_one_record_first(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	int			i;

	fake.refuse_topic = "t.a";	/* it may be there nevertheless */
	for (i = 1; i <= 3; i++)
		push(core, i, 0);
	turns(core, 3, 0);
	assert_int_equal(fake.topics_asked, 1);
	assert_int_equal(fake.queued, 1);
	answer(1, SN_REPORT_OK, false);
	turns(core, 2, 0);
	assert_int_equal(fake.queued, 2);
	answer(2, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_stored(3, 1, 2, 3);
	sn_relay_core_close(core, 0);
}

static void
a_topic_that_nobody_could_make_is_tried(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	int64_t		now;
	int			ids[10];

	fake.topics_away = true;
	push(core, 1, 0);
	push(core, 2, 0);
	for (now = 0; now <= 10000; now += 500)
		turns(core, 1, now);
	assert_int_equal(fake.topics_asked, 3);
	assert_int_equal(fake.queued, 1);	/* it may be there nevertheless */
	assert_int_equal(park_all(core, ids), 0);	/* the broker may be away */
	answer(1, SN_REPORT_OK, false);
	turns(core, 2, 22000);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 1, 22000);
	assert_stored(2, 1, 2);
	sn_relay_core_close(core, 0);
}

/* know_topics: an event of each was taken, in another lane */
static void
know_topics(SnRelayCore *core, const char *one, const char *other)
{
	int64_t		pos;

	push_to(core, 101, 1, one);
	push_to(core, 102, 1, other);
	turns(core, 3, 0);
	answer(2, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_int_equal(sn_relay_core_progress(core, 1, &pos), 2);
	fake.nstored = 0;
}

static void
a_topic_that_is_gone_holds_its_own_events_only(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnRelayCoreStats stats;
	SnWant		want;
	int			ids[10];
	int64_t		pos;
	int			i;

	know_topics(core, "gone", "b");
	for (i = 1; i <= 6; i++)	/* one lane, two topics in turn */
		push_to(core, i, 0, i % 2 ? "gone" : "b");
	turns(core, 2, 0);
	assert_int_equal(fake.queued, 6);
	answer(1, SN_REPORT_NO_TOPIC, false);
	answer(1, SN_REPORT_OK, false);
	answer(1, SN_REPORT_NO_TOPIC, false);
	answer(1, SN_REPORT_OK, false);
	turns(core, 1, 0);
	sn_relay_core_stats(core, &stats);
	assert_int_equal(stats.held, 1);
	/* what is on its way keeps its place: 1, 2, 3, 4 are parked or passed */
	assert_int_equal(park_all(core, ids), 2);
	assert_int_equal(ids[0], 1);
	assert_int_equal(ids[1], 3);
	assert_int_equal(sn_relay_core_progress(core, 0, &pos), 4);
	assert_int_equal(pos, 5);
	answer(1, SN_REPORT_NO_TOPIC, false);
	answer(1, SN_REPORT_OK, false);
	push_to(core, 7, 0, "gone");
	push_to(core, 8, 0, "b");
	turns(core, 1, 10);
	assert_int_equal(park_all(core, ids), 2);
	assert_int_equal(fake.queued, 1);
	answer(1, SN_REPORT_OK, false);
	turns(core, 1, 20);
	assert_stored(4, 2, 4, 6, 8);
	assert_int_equal(fake.restarts, 0);
	assert_false(sn_relay_core_wants(core, &want));

	/* it is asked for and made again: one is tried, then the rest in order */
	turns(core, 2, 2000);
	assert_true(sn_relay_core_wants(core, &want));
	assert_string_equal(want.topic, "t.gone");
	assert_int_equal(want.max, 1);
	give_back(core, &want, 1, 0);
	sn_relay_core_fetched(core, want.number, false);
	push_to(core, 9, 0, "gone");
	turns(core, 2, 2000);
	assert_int_equal(fake.queued, 1);
	assert_int_equal(park_all(core, ids), 1);
	answer(1, SN_REPORT_OK, false);
	turns(core, 1, 2010);
	assert_false(sn_relay_core_wants(core, &want));	/* 1 is still ours */
	assert_int_equal(arrived(core), 1);
	assert_true(sn_relay_core_wants(core, &want));
	assert_true(want.max > 4);
	for (i = 3; i <= 9; i += 2)
		give_back(core, &want, i, 0);
	sn_relay_core_fetched(core, want.number, true);
	push_to(core, 11, 0, "gone");
	turns(core, 2, 2020);
	assert_int_equal(fake.queued, 4);
	assert_int_equal(park_all(core, ids), 0);
	answer(4, SN_REPORT_OK, false);
	turns(core, 1, 2030);
	assert_int_equal(arrived(core), 4);
	turns(core, 2, 2040);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 1, 2050);
	assert_stored(10, 2, 4, 6, 8, 1, 3, 5, 7, 9, 11);
	sn_relay_core_stats(core, &stats);
	assert_int_equal(stats.held, 0);
	sn_relay_core_close(core, 0);
}

static void
a_topic_that_stays_denied_is_tried_ever_more_rarely(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnWant		want;
	int64_t		now;
	int			ids[10];
	int			tried = 0;

	fake.no_topic = "t.a";
	push(core, 1, 0);
	for (now = 0; now <= 100000; now += 100)
	{
		turns(core, 1, now);
		(void) park_all(core, ids);
		if (!sn_relay_core_wants(core, &want))
			continue;
		assert_int_equal(want.max, 1);
		give_back(core, &want, 1, 0);
		sn_relay_core_fetched(core, want.number, false);
		tried++;
	}
	assert_true(tried >= 5 && tried <= 8);	/* after 1, 2, 4, 8, 16, 30, 30 s */
	assert_int_equal(fake.nstored, 0);
	assert_false(sn_relay_core_news(core, UINT64_MAX, &(SnNews) {0}));
	sn_relay_core_close(core, 0);
}

static void
what_was_parked_before_goes_first(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnWant		want;
	int			ids[10];

	/* a host that starts again, and finds parked events */
	assert_true(sn_relay_core_has_parked(core, "t.a", "gone", 0));
	push(core, 2, 0);
	push_to(core, 3, 0, "b");
	turns(core, 3, 0);
	assert_int_equal(park_all(core, ids), 1);
	assert_int_equal(fake.queued, 1);
	assert_true(sn_relay_core_wants(core, &want));
	give_back(core, &want, 1, 0);
	sn_relay_core_fetched(core, want.number, false);
	turns(core, 1, 0);
	answer(2, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_int_equal(arrived(core), 1);
	assert_true(sn_relay_core_wants(core, &want));
	give_back(core, &want, 2, 0);
	sn_relay_core_fetched(core, want.number, true);
	turns(core, 1, 0);
	answer(1, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_int_equal(arrived(core), 1);
	turns(core, 1, 0);
	assert_stored(3, 3, 1, 2);
	sn_relay_core_close(core, 0);
}

static void
a_dead_letter_of_a_held_topic_gets_its_label(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnRecordEvent event = event_of(9, "a");
	SnNews		news;

	fake.no_topic = "t.a";
	assert_true(sn_relay_core_push_parked(core, -1, 0, 9, &event, NULL));
	turns(core, 3, 0);
	assert_true(sn_relay_core_news(core, UINT64_MAX, &news));
	assert_int_equal(news.kind, SN_NEWS_HELD);
	assert_string_equal(news.topic, "t.a");
	assert_false(sn_relay_core_news(core, UINT64_MAX, &news));
	sn_relay_core_close(core, 0);
}

static void
a_topic_nobody_answers_for_is_held_while_others_go_on(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	int64_t		now;
	int			ids[10];
	int			i = 2;

	push(core, 1, 0);
	turns(core, 2, 0);
	for (now = 1000; now <= 40000 && fake.restarts == 0; now += 1000)
	{
		push_to(core, i++, 1, "b");
		turns(core, 2, now);
		if (fake.queued < 2)
			break;
		/* the first of the queue stays without an answer */
		strcpy(fake.stored[fake.nstored++], fake.ids[1]);
		add_report(SN_REPORT_RECORD, SN_REPORT_OK, false, fake.queue[1]);
		fake.queued = 1;
		turns(core, 1, now);
	}
	assert_int_equal(fake.restarts, 1);
	assert_int_equal(park_all(core, ids), 1);
	assert_int_equal(ids[0], 1);
	sn_relay_core_close(core, 0);
}

static void
topics_have_no_end(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	char		name[32];
	int			i;

	for (i = 1; i <= 20000; i++)
	{
		snprintf(name, sizeof(name), "n%d", i);
		push_to(core, i, 0, name);
		turns(core, 2, 0);
		assert_int_equal(fake.queued, 1);
		answer(1, SN_REPORT_OK, false);
		fake.nstored = 0;
		turns(core, 1, 0);
	}
	assert_int_equal(fake.topics_asked, 20000);
	assert_false(sn_relay_core_news(core, UINT64_MAX, &(SnNews) {0}));
	sn_relay_core_close(core, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(position_passes_only_what_is_done),
		cmocka_unit_test(all_after_a_lost_one_go_again_in_order),
		cmocka_unit_test(a_refused_batch_is_sent_one_by_one),
		cmocka_unit_test(innocent_suspects_end_isolation),
		cmocka_unit_test(an_event_refused_at_once_leaves_the_others),
		cmocka_unit_test(full_queue_goes_on_where_it_stopped),
		cmocka_unit_test(breaker_opens_and_tries_one),
		cmocka_unit_test(a_trial_is_not_spent_on_what_is_refused),
		cmocka_unit_test(a_refusal_proves_that_the_broker_is_well),
		cmocka_unit_test(an_answer_about_a_topic_closes_the_breaker),
		cmocka_unit_test(a_trial_is_not_spent_on_asking_for_a_topic),
		cmocka_unit_test(others_go_on_while_one_waits_for_an_answer),
		cmocka_unit_test(room_is_bounded_by_events_and_bytes),
		cmocka_unit_test(events_without_a_label_leave_the_position),
		cmocka_unit_test(an_event_that_cannot_be_made_is_refused_in_its_order),
		cmocka_unit_test(topics_are_asked_for_once),
		cmocka_unit_test(topics_are_asked_for_one_at_a_time),
		cmocka_unit_test(a_topic_that_may_not_be_made_gets_one_record_first),
		cmocka_unit_test(a_topic_that_nobody_could_make_is_tried),
		cmocka_unit_test(a_topic_that_is_gone_holds_its_own_events_only),
		cmocka_unit_test(a_topic_that_stays_denied_is_tried_ever_more_rarely),
		cmocka_unit_test(what_was_parked_before_goes_first),
		cmocka_unit_test(a_dead_letter_of_a_held_topic_gets_its_label),
		cmocka_unit_test(a_topic_nobody_answers_for_is_held_while_others_go_on),
		cmocka_unit_test(topics_have_no_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
