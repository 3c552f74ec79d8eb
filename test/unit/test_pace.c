/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_pace.c
 *		How far rounds are apart, in a model of a sequencer: what was published
 *		before a round is in it, and a round takes a time for each event.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "process/pace.h"

#include "between.h"

#define MS INT64_C(1000)
#define SECOND (1000 * MS)
#define INTERVAL (20 * MS)

/* What is published: one event every so often, and a batch every so often */
typedef struct Load
{
	int64_t		single_every;	/* us; 0: none */
	int64_t		batch_every;
	int64_t		batch;			/* its events */
	int64_t		event_takes;	/* us of a round, in tenths */
	int64_t		round_takes;	/* us, beside that of its events */
} Load;

/* What became of it */
typedef struct Run
{
	int64_t		rounds;
	int64_t		worked;			/* us */
	int64_t		longest;		/* pause behind the end of a round */
} Run;

/* How many times something that is done every so often comes until then */
static int64_t
times(int64_t every, int64_t until)
{
	return every == 0 ? 0 : until / every;
}

static int64_t
published(const Load *load, int64_t until)
{
	return times(load->single_every, until) +
		times(load->batch_every, until) * load->batch;
}

/* Ten seconds of it; the first one does not count */
static Run
run(const Load *load)
{
	SnPace		pace = {0};
	Run			result = {0};
	int64_t		now = 0;
	int64_t		seen = 0;

	while (now < 10 * SECOND)
	{
		int64_t		events = published(load, now) - seen;
		int64_t		took = load->round_takes + 100 +
			events * load->event_takes / 10;
		int64_t		next;

		if (events == 0)
		{
			now += 100;
			continue;
		}
		seen += events;
		sn_pace_round(&pace, events, now, took, INTERVAL);
		next = now + sn_pace_pause(&pace, true, INTERVAL);
		now += took;
		if (now > SECOND)
		{
			result.rounds++;
			result.worked += took;
			if (next - now > result.longest)
				result.longest = next - now;
		}
		if (next > now)
			now = next;
	}
	return result;
}

/* Few events are not held up */
static void
test_quiet(void **state)
{
	Run			r = run(&(Load) {.single_every = 10 * MS,.event_takes = 30});

	assert_true(r.rounds >= 890);
	assert_int_equal(r.longest, 0);
}

/* Many commits of one event come together */
static void
test_singles(void **state)
{
	Run			r = run(&(Load) {.single_every = 50,.event_takes = 20});

	assert_between(r.rounds, 440, 500);
	assert_between(r.longest, 15 * MS, INTERVAL);
}

/* Batches that fill their rounds keep nobody waiting behind them */
static void
test_batches(void **state)
{
	Run			r = run(&(Load) {.single_every = 10 * MS,
		.batch_every = 200 * MS,.batch = 1000,.event_takes = 40});

	assert_true(r.rounds >= 850);
	assert_true(r.longest < MS);
}

/* Small batches do come together */
static void
test_small_batches(void **state)
{
	Run			r = run(&(Load) {.batch_every = MS / 2,.batch = 10,
		.event_takes = 20});

	assert_between(r.rounds, 440, 500);
}

/* A sequencer that never ends its work leaves half of the time to others */
static void
test_long_rounds(void **state)
{
	Run			r = run(&(Load) {.single_every = MS,.round_takes = 4 * MS});

	assert_between(r.worked, 4 * SECOND, 5 * SECOND);
}

/* A round far longer than the interval is followed by the next at once */
static void
test_huge_round(void **state)
{
	SnPace		pace = {0};

	sn_pace_round(&pace, 1000000, SECOND, 3 * SECOND, INTERVAL);
	assert_true(sn_pace_pause(&pace, true, INTERVAL) <= INTERVAL);
}

/* Nobody waits: five times as far apart; interval 0: never */
static void
test_unawaited(void **state)
{
	SnPace		pace = {0};
	int			i;

	for (i = 1; i <= 1000; i++)
		sn_pace_round(&pace, 500, i * INTERVAL, 500, INTERVAL);
	assert_between(sn_pace_pause(&pace, true, INTERVAL), INTERVAL - MS,
				   INTERVAL);
	assert_between(sn_pace_pause(&pace, false, INTERVAL),
				   5 * (INTERVAL - MS), 5 * INTERVAL);
	sn_pace_round(&pace, 500, 1001 * INTERVAL, 5 * MS, 0);
	assert_int_equal(sn_pace_pause(&pace, false, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_singles),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_small_batches),
		cmocka_unit_test(test_long_rounds),
		cmocka_unit_test(test_huge_round),
		cmocka_unit_test(test_unawaited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
