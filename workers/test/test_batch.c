/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_batch.c
 *	  What a batch tells the server after its handlers ran.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "batch.h"

/* Makes a batch of events whose keys are the letters of `keys`; 0: no id. */
static void
make_batch(Batch *batch, const char *keys)
{
	static const char *const ids[] = {"e0", "e1", "e2", "e3", "e4", "e5"};
	static const char *const letters[] = {"a", "b", "c"};
	PgBatch		claimed = {0};
	int			count = (int) strlen(keys);
	int			i;

	claimed.events = calloc((size_t) count, sizeof(AgentEvent));
	claimed.count = count;
	for (i = 0; i < count; i++)
	{
		claimed.events[i].token = "token";
		claimed.events[i].event_id = ids[i];
		claimed.events[i].tenant_id = "t";
		claimed.events[i].aggregate_id = keys[i] == '0' ? NULL :
			letters[keys[i] - 'a'];
	}
	assert_true(batch_init(batch, &claimed, NULL));
	assert_null(claimed.events);
}

static void
test_all_completed(void **state)
{
	Batch		batch;
	PgTurn		turn = {0};

	(void) state;
	make_batch(&batch, "aab");
	batch_record(&batch, 0, AGENT_COMPLETE, "", -1);
	batch_record(&batch, 1, AGENT_COMPLETE, "", -1);
	batch_record(&batch, 2, AGENT_COMPLETE, "", -1);
	assert_true(batch_fill_turn(&batch, &turn));
	assert_string_equal(turn.token, "token");
	assert_true(turn.complete);
	assert_null(turn.completed_ids);
	assert_int_equal(turn.failure_count, 0);
	assert_int_equal(batch.open_count, 0);
	batch_free(&batch);
}

static void
test_failure_blocks_its_key(void **state)
{
	Batch		batch;
	PgTurn		turn = {0};

	(void) state;
	make_batch(&batch, "abab0");
	batch_record(&batch, 0, AGENT_RETRY, "why", 1500);
	assert_false(batch_is_blocked(&batch, 1));
	batch_record(&batch, 1, AGENT_COMPLETE, "", -1);
	assert_true(batch_is_blocked(&batch, 2));
	assert_false(batch_is_blocked(&batch, 3));
	batch_record(&batch, 3, AGENT_FAIL, "never", 1500);
	assert_false(batch_is_blocked(&batch, 4));
	batch_record(&batch, 4, AGENT_COMPLETE, "", -1);
	assert_int_equal(batch.open_count, 1);
	assert_true(batch_fill_turn(&batch, &turn));
	assert_string_equal(turn.completed_ids, "{e1,e4}");
	assert_int_equal(turn.failure_count, 2);
	assert_string_equal(turn.failures[0].event_id, "e0");
	assert_string_equal(turn.failures[0].error, "why");
	assert_true(turn.failures[0].retryable);
	assert_int_equal(turn.failures[0].retry_in, 1500);
	assert_string_equal(turn.failures[1].event_id, "e3");
	assert_false(turn.failures[1].retryable);
	assert_int_equal(turn.failures[1].retry_in, -1);

	/* a turn that has to be repeated says the same */
	assert_true(batch_fill_turn(&batch, &turn));
	assert_string_equal(turn.completed_ids, "{e1,e4}");
	batch_free(&batch);
}

/* Outcomes go to the server once, also when they go in two turns. */
static void
test_two_turns(void **state)
{
	Batch		batch;
	PgTurn		turn = {0};

	(void) state;
	make_batch(&batch, "abac");
	assert_false(batch_has_news(&batch));
	batch_record(&batch, 0, AGENT_RETRY, "why", -1);
	batch_record(&batch, 1, AGENT_COMPLETE, "", -1);
	assert_true(batch_has_news(&batch));
	assert_true(batch_fill_turn(&batch, &turn));
	assert_string_equal(turn.completed_ids, "{e1}");
	assert_int_equal(turn.failure_count, 1);
	batch_reported(&batch);
	assert_false(batch_has_news(&batch));
	assert_true(batch_is_blocked(&batch, 2));
	batch_record(&batch, 3, AGENT_COMPLETE, "", -1);
	assert_true(batch_fill_turn(&batch, &turn));
	assert_true(turn.complete);
	assert_string_equal(turn.completed_ids, "{e3}");
	assert_int_equal(turn.failure_count, 0);
	assert_int_equal(batch.open_count, 1);
	batch_free(&batch);
}

/* A NULL aggregate is a key of its own: the tenant's. */
static void
test_tenant_key(void **state)
{
	Batch		batch;

	(void) state;
	make_batch(&batch, "0a0");
	batch_record(&batch, 0, AGENT_FAIL, "x", -1);
	assert_false(batch_is_blocked(&batch, 1));
	assert_true(batch_is_blocked(&batch, 2));
	batch_free(&batch);
}

static void
test_released(void **state)
{
	Batch		batch;
	PgTurn		turn = {0};

	(void) state;
	make_batch(&batch, "aab");
	batch_record(&batch, 0, AGENT_RELEASE, "", -1);
	assert_true(batch_is_blocked(&batch, 1));
	assert_int_equal(batch.open_count, 3);
	assert_true(batch_fill_turn(&batch, &turn));
	assert_false(turn.complete);
	assert_int_equal(turn.failure_count, 0);
	batch_free(&batch);
}

/* What the server may know is reported alone, and by name. */
static void
test_one_by_one(void **state)
{
	Batch		batch;
	PgTurn		turn = {0};
	PgTurn		failed = {0};
	PgTurn		none = {0};

	(void) state;
	make_batch(&batch, "abc");
	batch_record(&batch, 0, AGENT_COMPLETE, "", -1);
	batch_record(&batch, 1, AGENT_RETRY, "why", -1);
	batch_record(&batch, 2, AGENT_COMPLETE, "", -1);
	batch.in_doubt = true;
	assert_true(batch_fill_completed(&batch, &turn));
	assert_string_equal(turn.completed_ids, "{e0,e2}");
	assert_int_equal(turn.failure_count, 0);
	batch_completed_reported(&batch);
	assert_true(batch_has_news(&batch));
	batch_fill_failure(&batch, &failed);
	assert_false(failed.complete);
	assert_int_equal(failed.failure_count, 1);
	assert_string_equal(failed.failures[0].event_id, "e1");
	batch_failure_reported(&batch);
	assert_false(batch_has_news(&batch));
	assert_true(batch_fill_completed(&batch, &none));
	assert_string_equal(none.completed_ids, "{}");
	batch_free(&batch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_completed),
		cmocka_unit_test(test_failure_blocks_its_key),
		cmocka_unit_test(test_two_turns),
		cmocka_unit_test(test_tenant_key),
		cmocka_unit_test(test_released),
		cmocka_unit_test(test_one_by_one),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
