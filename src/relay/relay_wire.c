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

/* Its two numbers of eight bytes, seven of four, and the strings' places */
#define NSTRINGS		15
#define EVENT_HEAD		(2 * 8 + (7 + NSTRINGS) * 4)

/* sn_wire_begin: an empty message in the memory of the one before */
void
sn_wire_begin(SnWireOut *out)
{
	out->len = 0;
	out->failed = false;
}

/* add_room: so many bytes more; NULL: no memory */
static char *
add_room(SnWireOut *out, size_t len)
{
	char	   *place;

	if (out->room - out->len < len)
	{
		size_t		room = (out->room + len) * 2 + FIRST_ROOM;
		char	   *data = out->failed ? NULL : realloc(out->data, room);

		if (data == NULL)
		{
			out->failed = true;
			return NULL;
		}
		out->data = data;
		out->room = room;
	}
	place = out->data + out->len;
	out->len += len;
	return place;
}

/* put_four: a number of four bytes; returns the place behind it */
static inline char *
put_four(char *at, uint64_t value)
{
	at[0] = (char) value;
	at[1] = (char) (value >> 8);
	at[2] = (char) (value >> 16);
	at[3] = (char) (value >> 24);
	return at + 4;
}

/* put_eight: one of eight */
static inline char *
put_eight(char *at, uint64_t value)
{
	return put_four(put_four(at, value), value >> 32);
}

/* add_bytes: bytes, and a NUL */
static inline char *
add_bytes(char *at, const char *bytes, size_t len)
{
	memcpy(at, bytes, len);
	at[len] = '\0';
	return at + len + 1;
}

/* sn_wire_put: a number */
void
sn_wire_put(SnWireOut *out, int64_t value)
{
	char	   *at = add_room(out, 8);

	if (at != NULL)
		put_eight(at, value);
}

/* sn_wire_put_first: in the place of the first number, now that it is known */
void
sn_wire_put_first(SnWireOut *out, int64_t value)
{
	if (!out->failed)
		put_eight(out->data, value);
}

/* sn_wire_put_string: a string, or NULL */
void
sn_wire_put_string(SnWireOut *out, const char *string)
{
	size_t		len = string == NULL ? 0 : strlen(string);
	char	   *at = add_room(out, string == NULL ? 8 : 8 + len + 1);

	if (at == NULL)
		return;
	at = put_eight(at, string == NULL ? -1 : (int64_t) len);
	if (string != NULL)
		add_bytes(at, string, len);
}

/* sn_wire_put_event: an event whose strings are one piece */
void
sn_wire_put_event(SnWireOut *out, int lane, int64_t pos,
				  const SnRecordEvent *event, const char *error)
{
	const char *const *strings[NSTRINGS] = {EVENT_STRINGS(event)};
	size_t		error_len = error == NULL ? 0 : strlen(error);
	char	   *at = add_room(out, EVENT_HEAD + event->block_len + 1 +
							  (error == NULL ? 0 : error_len + 1));
	size_t		i;

	if (at == NULL)
		return;
	at = put_eight(at, pos);
	at = put_eight(at, event->occurred_us);
	at = put_four(at, lane);
	at = put_four(at, event->schema_version);
	at = put_four(at, event->tombstone | event->unwanted << 1);
	at = put_four(at, (int64_t) event->payload_len);
	at = put_four(at, (int64_t) event->metadata_len);
	at = put_four(at, error == NULL ? -1 : (int64_t) error_len);
	at = put_four(at, (int64_t) event->block_len);
	for (i = 0; i < NSTRINGS; i++)
		at = put_four(at, *strings[i] == NULL ? -1 :
					  *strings[i] - event->block);
	if (error != NULL)
		at = add_bytes(at, error, error_len);
	add_bytes(at, event->block, event->block_len);
}

/* four_at: a number of four bytes that stands there */
static inline int32_t
four_at(const char *at)
{
	const unsigned char *b = (const unsigned char *) at;

	return (int32_t) ((uint32_t) b[0] | (uint32_t) b[1] << 8 |
					  (uint32_t) b[2] << 16 | (uint32_t) b[3] << 24);
}

/* eight_at: one of eight */
static inline int64_t
eight_at(const char *at)
{
	return (int64_t) ((uint64_t) (uint32_t) four_at(at) |
					  (uint64_t) (uint32_t) four_at(at + 4) << 32);
}

/* sn_wire_get: a number; 0 when there is none */
int64_t
sn_wire_get(SnWireIn *in)
{
	if (in->failed || in->end - in->at < 8)
	{
		in->failed = true;
		return 0;
	}
	in->at += 8;
	return eight_at(in->at - 8);
}

/* get_bytes: so many bytes, and a NUL; NULL for none (size -1) */
static const char *
get_bytes(SnWireIn *in, int64_t size, size_t *len)
{
	const char *bytes = in->at;

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
	return bytes;
}

/* sn_wire_get_string: a string, or NULL */
const char *
sn_wire_get_string(SnWireIn *in)
{
	size_t		len;
	const char *string = get_bytes(in, sn_wire_get(in), &len);

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
	const char **strings[NSTRINGS] = {EVENT_STRINGS(event)};
	const char *head = in->at;
	const char *places = head + EVENT_HEAD - NSTRINGS * 4;
	size_t		len;
	size_t		i;

	memset(event, 0, sizeof(SnRecordEvent));
	*lane = -1;
	*pos = 0;
	*error = NULL;
	if (in->failed || in->end - in->at < EVENT_HEAD)
	{
		in->failed = true;
		return;
	}
	in->at += EVENT_HEAD;
	*pos = eight_at(head);
	event->occurred_us = eight_at(head + 8);
	*lane = four_at(head + 16);
	event->schema_version = four_at(head + 20);
	event->tombstone = (head[24] & 1) != 0;
	event->unwanted = (head[24] & 2) != 0;
	event->payload_len = (size_t) four_at(head + 28);
	event->metadata_len = (size_t) four_at(head + 32);
	*error = get_bytes(in, four_at(head + 36), &len);
	event->block = get_bytes(in, four_at(head + 40), &event->block_len);
	for (i = 0; i < NSTRINGS; i++)
		*strings[i] = place_in_block(in, event, four_at(places + i * 4));
	in->failed |= event->event_id == NULL ||
		runs_out(event, event->payload, event->payload_len) ||
		runs_out(event, event->metadata, event->metadata_len);
}
