/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_relay_core.c
 *		The relay's core: order, positions, sending again, isolation, refusal,
 *		breaker, bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "between.h"
#include "fake_broker.h"

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

	push_first(core, 4);
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

	push_first(core, 3);
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

	strcpy(id, id_of(2));
	fake.refuse_id = id;
	push_first(core, 3);
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
	push_first(core, 5);
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

	push_first(core, 3);
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

	strcpy(id, id_of(1));
	fake.refuse_id = id;
	fake.failures = 3;
	turns(core, 1, 0);
	push_first(core, 3);
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

/* A control event is passed, whatever is wrong with it, and not sent. */
static void
control_events_are_passed(void **state)
{
	SnRelayCore *core = open_core(2, 1 << 20);
	SnRecordEvent event = event_of(2, "a");
	SnNews		news;
	int64_t		pos;
	int			i;

	event.event_type = "DeadLettered";
	for (i = 0; i < 5; i++)
		assert_true(sn_relay_core_push(core, 0, 3 + i, &event,
									   i % 2 == 0 ? NULL : "too large"));
	assert_int_equal(sn_relay_core_room(core), 2);
	assert_int_equal(sn_relay_core_progress(core, 0, &pos), 5);
	assert_int_equal(pos, 7);

	/* not before those ahead of it */
	push(core, 8, 0);
	assert_true(sn_relay_core_push(core, 0, 10, &event, NULL));
	assert_int_equal(sn_relay_core_progress(core, 0, &pos), 0);
	turns(core, 3, 0);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 3, 0);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 3, 0);
	assert_int_equal(sn_relay_core_progress(core, 0, &pos), 2);
	assert_int_equal(pos, 10);
	assert_stored(1, 8);

	/* the host has kept one, and must not take it for sent */
	assert_true(sn_relay_core_push_parked(core, -1, 0, 77, &event, NULL));
	assert_true(sn_relay_core_news(core, 1, &news));
	assert_int_equal(news.kind, SN_NEWS_UNWANTED);
	assert_true(news.parked);
	assert_int_equal(news.pos, 77);
	assert_string_not_equal(news.error, "");
	assert_int_equal(sn_relay_core_parked_room(core), SN_MAX_PARKED);
	turns(core, 3, 0);
	assert_stored(1, 8);
	sn_relay_core_close(core, 0);
}

/* With a topic for them they are sent, and wait for it like others. */
static void
control_events_have_a_topic(void **state)
{
	SnRelayCore *core = open_core_with(100, 1 << 20, "control");
	SnRecordEvent event = event_of(2, "a");
	char		topic[SN_RECORD_MAX_TOPIC + 1];
	SnHeld		held;

	event.event_type = "RetryScheduled";
	assert_true(sn_relay_core_topic_of(core, &event, topic));
	assert_string_equal(topic, "control");
	fake.no_topic = "control";
	assert_true(sn_relay_core_push(core, 0, 3, &event, NULL));
	push(core, 3, 1);
	turns(core, 3, 0);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 3, 0);
	assert_stored(1, 3);
	assert_true(sn_relay_core_held(core, 0, &held));
	assert_string_equal(held.topic, "control");
	sn_relay_core_close(core, 0);

	core = open_core(100, 1 << 20);
	assert_false(sn_relay_core_topic_of(core, &event, topic));
	sn_relay_core_close(core, 0);
}

/* have_stored: events that an earlier producer had on its way */
static void
have_stored(int from, int to)
{
	for (; from <= to; from++)
		strcpy(fake.stored[fake.nstored++], id_of(from));
}

/* What a topic has at its end is done; each topic is read once. */
static void
what_is_there_is_not_sent(void **state)
{
	SnRelayCore *core;
	int64_t		pos;

	read_back = 1000;
	core = open_core(100, 1 << 20);
	have_stored(1, 2);
	push_first(core, 4);
	turns(core, 2, 0);
	assert_int_equal(fake.queued, 2);
	assert_true(sn_relay_core_progress(core, 0, &pos));
	assert_int_equal(pos, 3);
	answer(2, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_stored(4, 1, 2, 3, 4);
	assert_int_equal(fake.tails, 1);
	sn_relay_core_close(core, 0);
	read_back = 0;
}

/* That another topic has an event is no reason to leave it out. */
static void
an_id_counts_in_its_topic(void **state)
{
	SnRelayCore *core;

	read_back = 1000;
	core = open_core(100, 1 << 20);
	push_to(core, 1, 0, "a");
	turns(core, 2, 0);
	answer(1, SN_REPORT_OK, false);
	turns(core, 1, 0);
	fake.tail_of = "t.a";
	push_to(core, 1, 1, "b");
	turns(core, 2, 0);
	assert_int_equal(fake.tails, 2);
	assert_int_equal(fake.queued, 1);
	sn_relay_core_close(core, 0);
	read_back = 0;
}

/* A new producer reads again what the one before it had on its way. */
static void
a_new_producer_reads_back(void **state)
{
	SnRelayCore *core;

	read_back = 1000;
	core = open_core(100, 1 << 20);
	push_first(core, 3);
	turns(core, 2, 0);
	have_stored(1, 2);
	answer(1, SN_REPORT_RETRY, false);
	turns(core, 2, 0);
	assert_int_equal(fake.restarts, 1);
	assert_int_equal(fake.tails, 2);
	assert_int_equal(fake.queued, 1);
	answer(1, SN_REPORT_OK, false);
	turns(core, 1, 0);
	assert_stored(3, 1, 2, 3);
	sn_relay_core_close(core, 0);
	read_back = 0;
}

/* Nothing goes while nobody answers; what cannot be read is said, and goes. */
static void
what_cannot_be_read_back_goes(void **state)
{
	SnRelayCore *core;
	SnRelayCoreStats stats;

	read_back = 1000;
	core = open_core(100, 1 << 20);
	fake.tail = SN_TAIL_AWAY;
	push_first(core, 2);
	turns(core, 5, 0);
	assert_int_equal(fake.queued, 0);
	sn_relay_core_stats(core, &stats);
	assert_int_equal(stats.breaker, SN_BREAKER_OPEN);
	fake.tail = SN_TAIL_PART;
	turns(core, 5, 2000);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 2, 2000);
	answer(fake.queued, SN_REPORT_OK, false);
	turns(core, 2, 2000);
	assert_stored(2, 1, 2);
	sn_relay_core_stats(core, &stats);
	assert_non_null(strstr(stats.last_error, "may be sent twice"));
	sn_relay_core_close(core, 0);
	read_back = 0;
}

/* sent_by: how many were sent by some time, of which there was a turn every 100 ms */
static int
sent_by(SnRelayCore *core, int64_t from, int64_t until)
{
	for (; from <= until; from += 100)
		turns(core, 1, from);
	return fake.queued;
}

static void
no_more_events_go_than_the_limit_lets(void **state)
{
	SnRelayCore *core;
	SnRelayCoreStats stats;

	events_per_second = 10;
	core = open_core(100, 1 << 20);
	push_first(core, 40);
	turns(core, 2, 1000);
	assert_int_equal(fake.queued, 10);	/* what a second has, at once */
	sn_relay_core_stats(core, &stats);
	assert_true(stats.limited);
	assert_between(sn_relay_core_turn(core, 1000), 1, 100);
	assert_int_equal(sent_by(core, 1000, 2000), 20);
	assert_int_equal(sent_by(core, 2100, 4100), 40);
	turns(core, 1, 4200);
	sn_relay_core_stats(core, &stats);
	assert_false(stats.limited);
	sn_relay_core_close(core, 0);
	events_per_second = 0;
}

static void
no_more_bytes_go_than_the_limit_lets(void **state)
{
	SnRelayCore *core;

	bytes_per_second = 1;
	core = open_core(100, 1 << 20);
	push_first(core, 3);		/* two bytes each */
	turns(core, 2, 1000);
	assert_int_equal(fake.queued, 1);	/* what is larger goes, too */
	assert_int_equal(sent_by(core, 1100, 1900), 1);
	assert_int_equal(sent_by(core, 2100, 2200), 2);
	assert_int_equal(sent_by(core, 4200, 4300), 3);
	sn_relay_core_close(core, 0);
	bytes_per_second = 0;
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
		cmocka_unit_test(an_event_that_cannot_be_made_is_refused_in_its_order),
		cmocka_unit_test(control_events_are_passed),
		cmocka_unit_test(control_events_have_a_topic),
		cmocka_unit_test(what_is_there_is_not_sent),
		cmocka_unit_test(an_id_counts_in_its_topic),
		cmocka_unit_test(a_new_producer_reads_back),
		cmocka_unit_test(what_cannot_be_read_back_goes),
		cmocka_unit_test(no_more_events_go_than_the_limit_lets),
		cmocka_unit_test(no_more_bytes_go_than_the_limit_lets)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
