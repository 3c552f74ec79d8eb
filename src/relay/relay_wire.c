/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_wire.c
 *		What sentinai-relay and the session that works for it say to each other.
 *
 * Whoever reads a message trusts no length in it.
 */
#include "relay/relay_wire.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM	4096

/* What an event has in its piece of memory, in the order of the message */
#define EVENT_STRINGS(e) \
	&(e)->event_id, &(e)->event_type, &(e)->tenant_id, &(e)->aggregate_type, \
	&(e)->aggregate_id, &(e)->correlation_id, &(e)->causation_id, \
	&(e)->traceparent, &(e)->tracestate, &(e)->outbox_id, &(e)->refused_id, \
	&(e)->refused_topic, &(e)->refused_error, &(e)->metadata, &(e)->payload

/* sn_wire_begin: an empty message in the memory of the one before */
void
sn_wire_begin(SnWireOut *out)
{
	out->len = 0;
	out->failed = false;
}

/* put_raw: bytes */
static void
put_raw(SnWireOut *out, const void *bytes, size_t len)
{
	if (out->room - out->len < len)
	{
		size_t		room = (out->room + len) * 2 + FIRST_ROOM;
		char	   *data = out->failed ? NULL : realloc(out->data, room);

		if (data == NULL)
		{
			out->failed = true;
			return;
		}
		out->data = data;
		out->room = room;
	}
	memcpy(out->data + out->len, bytes, len);
	out->len += len;
}

/* number_bytes: a number as it stands in a message */
static void
number_bytes(int64_t value, char *bytes)
{
	int			i;

	for (i = 0; i < 8; i++)
		bytes[i] = (char) ((uint64_t) value >> (8 * i) & 0xff);
}

/* sn_wire_put: a number */
void
sn_wire_put(SnWireOut *out, int64_t value)
{
	char		bytes[8];

	number_bytes(value, bytes);
	put_raw(out, bytes, sizeof(bytes));
}

/* sn_wire_put_first: in the place of the first number, now that it is known */
void
sn_wire_put_first(SnWireOut *out, int64_t value)
{
	if (!out->failed)
		number_bytes(value, out->data);
}

/* put_piece: bytes with their length, and a NUL */
static void
put_piece(SnWireOut *out, const char *bytes, size_t len)
{
	sn_wire_put(out, (int64_t) len);
	put_raw(out, bytes, len);
	put_raw(out, "", 1);
}

/* sn_wire_put_string: a string, or NULL */
void
sn_wire_put_string(SnWireOut *out, const char *string)
{
	if (string == NULL)
		sn_wire_put(out, -1);
	else
		put_piece(out, string, strlen(string));
}

/* sn_wire_put_event: an event whose strings are one piece */
void
sn_wire_put_event(SnWireOut *out, int lane, int64_t pos,
				  const SnRecordEvent *event, const char *error)
{
	const char *const *strings[] = {EVENT_STRINGS(event)};
	size_t		i;

	sn_wire_put(out, lane);
	sn_wire_put(out, pos);
	sn_wire_put_string(out, error);
	sn_wire_put(out, event->schema_version);
	sn_wire_put(out, event->occurred_us);
	sn_wire_put(out, event->tombstone | event->unwanted << 1);
	sn_wire_put(out, (int64_t) event->payload_len);
	sn_wire_put(out, (int64_t) event->metadata_len);
	for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		sn_wire_put(out, *strings[i] == NULL ? -1 : *strings[i] - event->block);
	put_piece(out, event->block, event->block_len);
}

/* sn_wire_get: a number; 0 when there is none */
int64_t
sn_wire_get(SnWireIn *in)
{
	uint64_t	value = 0;
	int			i;

	if (in->failed || in->end - in->at < 8)
	{
		in->failed = true;
		return 0;
	}
	for (i = 0; i < 8; i++)
		value |= (uint64_t) (unsigned char) in->at[i] << (8 * i);
	in->at += 8;
	return (int64_t) value;
}

/* get_piece: bytes with their length, and a NUL; NULL for none */
static const char *
get_piece(SnWireIn *in, size_t *len)
{
	int64_t		size = sn_wire_get(in);
	const char *piece = in->at;

	*len = 0;
	if (in->failed || size == -1)
		return NULL;
	if (size < 0 || size >= in->end - in->at || in->at[size] != '\0')
	{
		in->failed = true;
		return NULL;
	}
	in->at += size + 1;
	*len = (size_t) size;
	return piece;
}

/* sn_wire_get_string: a string, or NULL */
const char *
sn_wire_get_string(SnWireIn *in)
{
	size_t		len;
	const char *string = get_piece(in, &len);

	if (string != NULL && strlen(string) != len)
	{
		in->failed = true;
		return NULL;
	}
	return string;
}

/* place_in_block: the string at a place; NULL for none, or when it is not in it */
static const char *
place_in_block(SnWireIn *in, const SnRecordEvent *event, int64_t place)
{
	if (place == -1)
		return NULL;
	if (event->block == NULL || place < 0 ||
		place >= (int64_t) event->block_len)
	{
		in->failed = true;
		return NULL;
	}
	return event->block + place;
}

/* runs_out: whether so many bytes from a string on are more than there are */
static bool
runs_out(const SnRecordEvent *event, const char *string, size_t len)
{
	return string == NULL ? len > 0 :
		len > event->block_len - (size_t) (string - event->block);
}

/* sn_wire_get_event: an event, whose strings are in the message */
void
sn_wire_get_event(SnWireIn *in, int *lane, int64_t *pos,
				  SnRecordEvent *event, const char **error)
{
	const char **strings[] = {EVENT_STRINGS(event)};
	int64_t		places[sizeof(strings) / sizeof(strings[0])];
	int64_t		flags;
	size_t		i;

	memset(event, 0, sizeof(SnRecordEvent));
	*lane = (int) sn_wire_get(in);
	*pos = sn_wire_get(in);
	*error = sn_wire_get_string(in);
	event->schema_version = (int) sn_wire_get(in);
	event->occurred_us = sn_wire_get(in);
	flags = sn_wire_get(in);
	event->tombstone = (flags & 1) != 0;
	event->unwanted = (flags & 2) != 0;
	event->payload_len = (size_t) sn_wire_get(in);
	event->metadata_len = (size_t) sn_wire_get(in);
	for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		places[i] = sn_wire_get(in);
	event->block = get_piece(in, &event->block_len);
	for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		*strings[i] = place_in_block(in, event, places[i]);
	in->failed |= event->event_id == NULL ||
		runs_out(event, event->payload, event->payload_len) ||
		runs_out(event, event->metadata, event->metadata_len);
}
