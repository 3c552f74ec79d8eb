/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_relay_wire.c
 *		Messages of sentinai-relay: what is written is read, and what is cut
 *		or changed is refused or harmless.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/relay_wire.h"

static const char block[] = "id\0type\0acme\0order\0" "7\0{\"n\": 1}\0=x\0\0";

/* write_message: a number, strings, and an event of all kinds of parts */
static void
write_message(SnWireOut *out)
{
	SnRecordEvent event = {0};

	event.block = block;
	event.block_len = sizeof(block);
	event.event_id = block;
	event.event_type = block + 3;
	event.tenant_id = block + 8;
	event.aggregate_type = block + 13;
	event.aggregate_id = block + 19;
	event.payload = block + 21;
	event.payload_len = 8;
	event.metadata = block + 30;
	event.metadata_len = 4;
	event.schema_version = 3;
	event.occurred_us = -5;
	event.unwanted = true;
	sn_wire_begin(out);
	sn_wire_put(out, 0);
	sn_wire_put_string(out, "");
	sn_wire_put_string(out, NULL);
	sn_wire_put_event(out, 63, INT64_MAX, &event, "why");
	sn_wire_put_first(out, INT64_MIN);
}

static void
round_trip(void **state)
{
	SnWireOut	out = {0};
	SnWireIn	in;
	SnRecordEvent event;
	const char *error;
	int			lane;
	int64_t		pos;

	write_message(&out);
	assert_false(out.failed);
	in = (SnWireIn) {out.data, out.data + out.len, false};
	assert_true(sn_wire_get(&in) == INT64_MIN);
	assert_string_equal(sn_wire_get_string(&in), "");
	assert_null(sn_wire_get_string(&in));
	sn_wire_get_event(&in, &lane, &pos, &event, &error);
	assert_false(in.failed);
	assert_ptr_equal(in.at, in.end);
	assert_int_equal(lane, 63);
	assert_true(pos == INT64_MAX);
	assert_string_equal(error, "why");
	assert_string_equal(event.event_id, "id");
	assert_string_equal(event.aggregate_id, "7");
	assert_string_equal(event.payload, "{\"n\": 1}");
	assert_int_equal(event.payload_len, 8);
	assert_memory_equal(event.metadata, "=x\0", 4);
	assert_null(event.traceparent);
	assert_int_equal(event.schema_version, 3);
	assert_true(event.occurred_us == -5);
	assert_true(event.unwanted);
	assert_false(event.tombstone);
	free(out.data);
}

/* read_message: read it all; what was not refused lies in the message */
static bool
read_message(const char *data, size_t len)
{
	SnWireIn	in = {data, data + len, false};
	SnRecordEvent event;
	const char *error;
	int			lane;
	int64_t		pos;

	(void) sn_wire_get(&in);
	(void) sn_wire_get_string(&in);
	(void) sn_wire_get_string(&in);
	sn_wire_get_event(&in, &lane, &pos, &event, &error);
	if (in.failed)
		return false;
	assert_true(event.block >= data &&
				event.block + event.block_len < data + len);
	assert_true(event.payload == NULL ||
				event.payload + event.payload_len <=
				event.block + event.block_len);
	return true;
}

static void
cut_anywhere(void **state)
{
	SnWireOut	out = {0};
	size_t		len;

	write_message(&out);
	assert_true(read_message(out.data, out.len));
	for (len = 0; len < out.len; len++)
	{
		char	   *copy = malloc(len + 1);	/* so that a reader beyond it is seen */

		memcpy(copy, out.data, len);
		assert_false(read_message(copy, len));
		free(copy);
	}
	free(out.data);
}

static void
changed_anywhere(void **state)
{
	SnWireOut	out = {0};
	size_t		i;

	write_message(&out);
	for (i = 0; i < out.len; i++)
	{
		char		was = out.data[i];

		out.data[i] = (char) 0xff;
		(void) read_message(out.data, out.len);
		out.data[i] = 0x7f;
		(void) read_message(out.data, out.len);
		out.data[i] = was;
	}
	free(out.data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(changed_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
