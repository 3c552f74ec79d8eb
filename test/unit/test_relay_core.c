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

#include "relay_core.h"

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
	const char *refuse_id;		/* this event is never taken */
	const char *later_id;		/* this event has to wait for an answer */
	uint64_t	failures;
	bool		topics_away;	/* create_topic() answers RETRY */
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

static void
push_of(SnRelayCore *core, int n, int lane, const char *aggregate_type,
		const char *aggregate_id)
{
	SnRecordEvent event = {0};

	event.event_id = id_of(n);
	event.event_type = "E";
	event.tenant_id = "T";
	event.aggregate_type = aggregate_type;
	event.aggregate_id = aggregate_id;
	event.schema_version = 1;
	event.payload = "{}";
	event.payload_len = 2;
	assert_true(sn_relay_core_push(core, lane, n + 1, &event));
}

static void
push(SnRelayCore *core, int n, int lane)
{
	push_of(core, n, lane, "a", "k");
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
	SnRefused	refused;
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
	assert_true(sn_relay_core_refused(core, &refused));
	assert_string_equal(refused.event_id, id_of(2));
	assert_string_equal(refused.error, "fake error");
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 4);
	assert_false(sn_relay_core_refused(core, &refused));
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
	SnRefused	refused;
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
	assert_true(sn_relay_core_refused(core, &refused));
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

static void
redriven_events_leave_the_position(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	SnRecordEvent event = {0};
	char		id[37];
	int64_t		pos;
	int			lane;

	push(core, 1, 0);
	event.event_id = id_of(9);
	event.event_type = event.tenant_id = event.aggregate_type = "x";
	event.payload = "{}";
	event.payload_len = 2;
	assert_true(sn_relay_core_push(core, 0, SN_REDRIVEN, &event));
	turns(core, 2, 0);
	assert_false(sn_relay_core_redriven(core, &lane, id));
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 2, 0);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 2, 0);
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 2);
	assert_true(sn_relay_core_redriven(core, &lane, id));
	assert_string_equal(id, id_of(9));
	assert_int_equal(lane, 0);
	assert_false(sn_relay_core_redriven(core, &lane, id));
	sn_relay_core_close(core, 0);
}

static void
topics_are_asked_for_once(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	int			i;

	fake.refuse_topic = "t.a";	/* denied: the records have to tell */
	for (i = 1; i <= 3; i++)
		push(core, i, 0);
	turns(core, 3, 0);
	assert_int_equal(fake.topics_asked, 1);
	assert_int_equal(fake.queued, 3);
	sn_relay_core_close(core, 0);
}

static void
a_topic_that_nobody_could_make_is_asked_for_again(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);
	int64_t		now;

	fake.topics_away = true;
	push(core, 1, 0);
	push(core, 2, 0);
	for (now = 0; now <= 10000; now += 500)
		turns(core, 1, now);
	assert_int_equal(fake.topics_asked, 3);
	assert_int_equal(fake.queued, 2);	/* it may be there nevertheless */

	fake.topics_away = false;
	fake.stalled_ms = 10001;
	turns(core, 1, 20000);
	fake.stalled_ms = 0;
	turns(core, 4, 22000);
	assert_int_equal(fake.restarts, 1);
	assert_int_equal(fake.topics_asked, 4);
	assert_int_equal(fake.queued, 2);
	answer(2, SN_REPORT_OK, false);
	turns(core, 1, 22000);
	assert_stored(2, 1, 2);
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
		cmocka_unit_test(others_go_on_while_one_waits_for_an_answer),
		cmocka_unit_test(room_is_bounded_by_events_and_bytes),
		cmocka_unit_test(redriven_events_leave_the_position),
		cmocka_unit_test(topics_are_asked_for_once),
		cmocka_unit_test(a_topic_that_nobody_could_make_is_asked_for_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
