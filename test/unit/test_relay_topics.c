/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_relay_topics.c
 *		The relay's core: topics that cannot be written, and parked events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_broker.h"

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
topics_are_asked_for_once(void **state)
{
	SnRelayCore *core = open_core(100, 1 << 20);

	push_first(core, 3);
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

	fake.refuse_topic = "t.a";	/* it may be there nevertheless */
	push_first(core, 3);
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
	assert_int_equal(fake.topics_told, 1);
	assert_int_equal(park_all(core, ids), 1);
	assert_int_equal(ids[0], 1);
	sn_relay_core_close(core, 0);
}

/* crowd: a window full of events of as many new topics, and turns for 1.2 s */
static int
crowd(SnRelayCore *core)
{
	char		name[16];
	int			ids[40];
	int			now;
	int			i;

	for (i = 0; i < 40; i++)
	{
		snprintf(name, sizeof(name), "new%d", i);
		push_to(core, i + 1, i % LANES, name);
	}
	for (now = 10; now <= 1210; now += 100)
	{
		turns(core, 1, now);
		answer(fake.queued, SN_REPORT_OK, false);
	}
	return park_all(core, ids);
}

static void
a_crowd_of_new_topics_leaves_the_window(void **state)
{
	SnRelayCore *core = open_core(40, 1 << 20);
	SnRelayCoreStats stats;

	assert_true(crowd(core) > 0);
	turns(core, 1, 1220);
	sn_relay_core_stats(core, &stats);
	assert_true(stats.held > 20);
	assert_true(sn_relay_core_room(core) >= 10);	/* others go on */
	assert_int_equal(fake.topics_told, 0);	/* nothing is wrong with them */
	sn_relay_core_close(core, 0);
}

static void
one_of_a_crowd_that_is_refused_is_told(void **state)
{
	SnRelayCore *core = open_core(40, 1 << 20);
	SnWant		want;
	int64_t		now;

	assert_true(crowd(core) > 0);
	for (now = 1300; now < 5000 && fake.topics_told == 0; now += 100)
	{
		turns(core, 1, now);
		answer(fake.queued, SN_REPORT_NO_TOPIC, false);
		if (!sn_relay_core_wants(core, &want))
			continue;
		give_back(core, &want, atoi(want.topic + 5) + 1, 0);
		sn_relay_core_fetched(core, want.number, false);
	}
	assert_int_equal(fake.topics_told, 1);
	sn_relay_core_close(core, 0);
}

static void
a_crowd_waits_for_a_broker_that_is_away(void **state)
{
	SnRelayCore *core = open_core(40, 1 << 20);

	fake.topics_silent = true;
	assert_int_equal(crowd(core), 0);
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
		cmocka_unit_test(events_without_a_label_leave_the_position),
		cmocka_unit_test(topics_are_asked_for_once),
		cmocka_unit_test(topics_are_asked_for_one_at_a_time),
		cmocka_unit_test(a_topic_that_may_not_be_made_gets_one_record_first),
		cmocka_unit_test(a_topic_that_nobody_could_make_is_tried),
		cmocka_unit_test(a_topic_that_is_gone_holds_its_own_events_only),
		cmocka_unit_test(a_topic_that_stays_denied_is_tried_ever_more_rarely),
		cmocka_unit_test(what_was_parked_before_goes_first),
		cmocka_unit_test(a_dead_letter_of_a_held_topic_gets_its_label),
		cmocka_unit_test(a_topic_nobody_answers_for_is_held_while_others_go_on),
		cmocka_unit_test(a_crowd_of_new_topics_leaves_the_window),
		cmocka_unit_test(one_of_a_crowd_that_is_refused_is_told),
		cmocka_unit_test(a_crowd_waits_for_a_broker_that_is_away),
		cmocka_unit_test(topics_have_no_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
