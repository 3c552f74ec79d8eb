/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_event.c
 *		From a row of the log to what a record is made of.
 *
 * What is wrong with one event must not stop the others: a payload that nobody
 * could hold is measured before text is made of it, and an error while a row is
 * read is caught in a subtransaction (sn_relay_guarded()).
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

#include "base/control_type.h"
#include "base/guc.h"
#include "base/json_size.h"
#include "base/text.h"
#include "log/event.h"
#include "log/event_check.h"
#include "log/log_read.h"
#include "queue/dead_letter.h"
#include "relay/json_text.h"
#include "relay/relay_event.h"
#include "relay/relay_process.h"
#include "relay/relay_transform.h"
#include "store/guarded.h"
#include "store/store.h"

#define SURELY_FITS	1024		/* bytes of a jsonb that is not too deep, and of
								 * a few MB of text at most: the broker may
								 * measure that */
#define ESCAPE_MAX	6			/* bytes of text for one in a string */

/* text_column: a text column, or NULL */
static const text *
text_column(const Datum *values, const bool *nulls, AttrNumber column)
{
	return nulls[column - 1] ? NULL : DatumGetTextPP(values[column - 1]);
}

/* text_size: bytes of a text with a NUL behind it; 0 for none */
static inline size_t
text_size(const text *t)
{
	return t == NULL ? 0 : VARSIZE_ANY_EXHDR(t) + 1;
}

/* put: bytes and a NUL; NULL stays NULL */
static const char *
put(char **at, const char *bytes, size_t len)
{
	char	   *start = *at;

	if (bytes == NULL)
		return NULL;
	memcpy(start, bytes, len);
	start[len] = '\0';
	*at += len + 1;
	return start;
}

/* put_event_text: a text as a string */
static const char *
put_event_text(char **at, const text *t)
{
	return t == NULL ? NULL : put(at, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

/* put_uuid: an id in its usual form */
static const char *
put_uuid(char **at, const pg_uuid_t *id)
{
	static const char hex[] = "0123456789abcdef";
	char	   *start = *at;
	char	   *p = start;
	int			i;

	for (i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[id->data[i] >> 4];
		*p++ = hex[id->data[i] & 15];
	}
	*p++ = '\0';
	*at = p;
	return start;
}

#define UUID_SIZE (2 * UUID_LEN + 5)	/* of put_uuid() */

/* jsonb_of: a JSON column; NULL for an empty one, which is just a header */
static Jsonb *
jsonb_of(const Datum *values, AttrNumber column)
{
	Datum		datum = values[column - 1];

	if (VARSIZE_ANY_EXHDR(DatumGetPointer(datum)) <= sizeof(JsonbContainer))
		return NULL;
	return DatumGetJsonbP(datum);
}

/* metadata_string: a string in the metadata; its length is 0 without one */
static JsonbValue
metadata_string(Jsonb *metadata, const char *name)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(metadata) ||
		getKeyJsonValueFromContainer(&metadata->root, name, strlen(name),
									 &value) == NULL ||
		value.type != jbvString)
	{
		value.type = jbvNull;
		value.val.string.val = NULL;
		value.val.string.len = 0;
	}
	return value;
}

/*
 * put_wanted: what an event has under the keys that the relay's rules name:
 * for each a string, '=' and the value as text, or nothing
 */
static void
put_wanted(StringInfo out, Jsonb *metadata)
{
	const SnRecordItems *wanted = &sn_relay.settings.rules->metadata;
	int			i;

	for (i = 0; i < wanted->n; i++)
	{
		const char *name = wanted->items[i].name;
		JsonbValue	value;

		if (metadata != NULL && JB_ROOT_IS_OBJECT(metadata) &&
			getKeyJsonValueFromContainer(&metadata->root, name, strlen(name),
										 &value) != NULL &&
			value.type != jbvNull)
		{
			appendStringInfoChar(out, '=');
			if (value.type == jbvString)
				appendBinaryStringInfo(out, value.val.string.val,
									   value.val.string.len);
			else
				(void) JsonbToCString(out, &JsonbValueToJsonb(&value)->root, -1);
		}
		appendStringInfoChar(out, '\0');
	}
}

/*
 * payload_text: the payload as text; or why it cannot be sent, found out before
 * any text is made
 */
static const char *
payload_text(StringInfo json, Datum datum, Size max_text)
{
	Jsonb	   *payload = DatumGetJsonbP(datum);
	SnJsonFit	fit = SN_JSON_FITS;

	if (VARSIZE(payload) > Min(SURELY_FITS, max_text / ESCAPE_MAX))
		fit = sn_json_fit(payload, max_text);
	resetStringInfo(json);
	if (fit == SN_JSON_FITS)
		sn_json_text(json, &payload->root);
	if ((Pointer) payload != DatumGetPointer(datum))
		pfree(payload);
	if (fit == SN_JSON_TOO_DEEP)
		return "payload is nested too deep";
	if (fit == SN_JSON_TOO_LARGE)
		return "payload is larger as text than message.max.bytes";
	return NULL;
}

/* What is put together for one event */
typedef struct Parts
{
	const text *type;
	const text *tenant;
	const text *aggregate_type;
	const text *aggregate_id;
	const text *correlation;
	JsonbValue	parent;
	JsonbValue	state;
	JsonbValue	outbox_id;
	StringInfoData metadata;	/* of put_wanted() */
} Parts;

/* What a RecordRefused event tells of another; all NULL of any other event */
typedef struct Refused
{
	const pg_uuid_t *id;
	const text *topic;			/* or NULL: it had none */
	const text *error;
} Refused;

/* find_parts: the strings of a row; returns their size */
static Size
find_parts(Parts *p, const Datum *values, const bool *nulls,
		   const Refused *refused)
{
	static const JsonbValue no_string = {.type = jbvNull};
	Jsonb	   *metadata = jsonb_of(values, Anum_log_metadata);

	p->type = text_column(values, nulls, Anum_log_event_type);
	p->tenant = text_column(values, nulls, Anum_log_tenant_id);
	p->aggregate_type = text_column(values, nulls, Anum_log_aggregate_type);
	p->aggregate_id = text_column(values, nulls, Anum_log_aggregate_id);
	p->correlation = text_column(values, nulls,
								 sn_log_column(Anum_log_correlation_id, nulls));
	p->parent = p->state = p->outbox_id = no_string;
	if (metadata != NULL)
	{
		p->parent = metadata_string(metadata, "traceparent");
		p->state = metadata_string(metadata, "tracestate");
		/* the one format that has a use for it */
		if (sn_relay.settings.format == SN_RECORD_DEBEZIUM)
			p->outbox_id = metadata_string(metadata, SN_OUTBOX_ID);
	}
	p->metadata.data = NULL;
	p->metadata.len = 0;
	if (sn_relay.settings.rules != NULL &&
		sn_relay.settings.rules->metadata.n > 0)
	{
		initStringInfo(&p->metadata);
		put_wanted(&p->metadata, metadata);
	}
	return 3 * UUID_SIZE + p->metadata.len + text_size(refused->topic) +
		text_size(refused->error) + text_size(p->type) + text_size(p->tenant) +
		text_size(p->aggregate_type) + text_size(p->aggregate_id) +
		text_size(p->correlation) + p->parent.val.string.len +
		p->state.val.string.len + p->outbox_id.val.string.len + 4;
}

/* transformed_text: the text of what a transform sends; or why there is none */
static const char *
transformed_text(StringInfo json, const SnTransformed *t, Size max_text)
{
	resetStringInfo(json);
	switch (t->kind)
	{
		case SN_TRANSFORM_SENDS:
			return payload_text(json, t->payload, max_text);
		case SN_TRANSFORM_FAILS:
			return t->error;
		case SN_TRANSFORM_DROPS:
			return "the transform sends nothing of it";
		default:
			return NULL;
	}
}

/*
 * make_event: what the record is made of, from the columns of a row of the log,
 * in one piece of memory, so that the core can copy it as one.  id: of the event
 * that it is sent for, which may tell of a refused one.  t: what a transform made
 * of the payload, or NULL.
 */
static SnRelayEvent *
make_event(const pg_uuid_t *id, const Datum *values, const bool *nulls,
		   const Refused *refused, const SnTransformed *t, StringInfo json,
		   Size max_text)
{
	SnRelayEvent *e;
	SnRecordEvent *r;
	Parts		p;
	const char *error = t != NULL ? transformed_text(json, t, max_text) :
		payload_text(json, values[Anum_log_payload - 1], max_text);
	bool		omitted = error != NULL && refused->id != NULL;
	char	   *at;

	e = palloc(sizeof(SnRelayEvent) + find_parts(&p, values, nulls, refused) +
			   json->len + 1);
	e->error = omitted ? NULL : error;
	at = (char *) (e + 1);
	r = &e->event;
	memset(r, 0, sizeof(SnRecordEvent));
	r->block = at;
	r->event_id = put_uuid(&at, id);
	r->event_type = put_event_text(&at, p.type);
	r->tenant_id = put_event_text(&at, p.tenant);
	r->aggregate_type = put_event_text(&at, p.aggregate_type);
	r->aggregate_id = put_event_text(&at, p.aggregate_id);
	r->correlation_id = put_event_text(&at, p.correlation);
	if (!nulls[Anum_log_causation_id - 1])
		r->causation_id =
			put_uuid(&at, DatumGetUUIDP(values[Anum_log_causation_id - 1]));
	r->traceparent = put(&at, p.parent.val.string.val,
						 p.parent.val.string.len);
	r->tracestate = put(&at, p.state.val.string.val, p.state.val.string.len);
	r->outbox_id = put(&at, p.outbox_id.val.string.val,
					   p.outbox_id.val.string.len);
	r->metadata = put(&at, p.metadata.data, p.metadata.len);
	r->metadata_len = p.metadata.len;
	if (refused->id != NULL)
		r->refused_id = put_uuid(&at, refused->id);
	r->refused_topic = put_event_text(&at, refused->topic);
	r->refused_error = put_event_text(&at, refused->error);
	r->tombstone = t != NULL && t->kind == SN_TRANSFORM_TOMBSTONE;
	if (!omitted && !r->tombstone)
	{
		r->payload = put(&at, json->data, json->len);
		r->payload_len = json->len;
	}
	r->block_len = at - r->block;
	r->schema_version = DatumGetInt32(values[Anum_log_schema_version - 1]);
	r->occurred_us = DatumGetTimestampTz(values[Anum_log_occurred_at - 1]) +
		SN_UNIX_EPOCH_US;
	return e;
}

/* payload_string: a string in a payload, or NULL */
static text *
payload_string(Jsonb *payload, const char *name)
{
	JsonbValue	value = metadata_string(payload, name);

	return value.val.string.val == NULL ? NULL :
		cstring_to_text_with_len(value.val.string.val, value.val.string.len);
}

/* is_of_relay: whether it was this relay that gave up the event */
static bool
is_of_relay(Jsonb *payload)
{
	text	   *name = payload_string(payload, "worker_type");

	return name != NULL && sn_text_equal(name, sn_relay.settings.name);
}

/* transform_of: what the relay's transform makes of an event; NULL: it has none */
static const SnTransformed *
transform_of(const Datum *values, const bool *nulls, SnTransformed *result)
{
	const SnRecordRules *rules = sn_relay.settings.rules;

	if (rules == NULL || rules->transform == NULL)
		return NULL;
	sn_transform(values, nulls, result);
	return result;
}

/*
 * refused_event: the event that a RecordRefused event is about, from its letter;
 * NULL when the letter has gone, or is another relay's
 */
static SnRelayEvent *
refused_event(const Datum *values, const bool *nulls, StringInfo json,
			  Size max_text)
{
	Jsonb	   *payload = DatumGetJsonbP(values[Anum_log_payload - 1]);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Refused		refused = {NULL};
	SnEventRow	row;
	SnTransformed transformed;
	const SnTransformed *t;
	bool		found;

	if (!nulls[Anum_log_causation_id - 1])
		refused.id = DatumGetUUIDP(values[Anum_log_causation_id - 1]);
	refused.topic = payload_string(payload, "topic");
	refused.error = payload_string(payload, "error");
	found = refused.id != NULL && refused.error != NULL &&
		is_of_relay(payload) &&
		sn_dead_letter_event(refused.id, sn_relay.settings.name, snapshot,
							 &row);
	UnregisterSnapshot(snapshot);
	if (!found)
		return NULL;
	t = transform_of(row.values, row.nulls, &transformed);
	return make_event(DatumGetUUIDP(values[Anum_log_event_id - 1]), row.values,
					  row.nulls, &refused, t, json, max_text);
}

/*
 * sn_relay_event: what the record is made of.  json is room for the payload's
 * text; one that would be more than max_text cannot be sent, and the event says
 * so.
 */
SnRelayEvent *
sn_relay_event(const Datum *values, const bool *nulls, StringInfo json,
			   Size max_text)
{
	const pg_uuid_t *id = DatumGetUUIDP(values[Anum_log_event_id - 1]);
	Refused		none = {NULL};
	SnRelayEvent *event = NULL;
	SnTransformed transformed;
	const SnTransformed *t = NULL;

	if (sn_relay.settings.dead_letter_topic[0] != '\0' &&
		sn_text_is(DatumGetTextPP(values[Anum_log_event_type - 1]),
				   SN_TYPE_RECORD_REFUSED))
		event = refused_event(values, nulls, json, max_text);
	if (event != NULL)
		return event;
	if (sn_relay.settings.rules != NULL &&
		!sn_is_control_type(DatumGetTextPP(values[Anum_log_event_type - 1])))
		t = transform_of(values, nulls, &transformed);
	if (t != NULL && t->kind == SN_TRANSFORM_DROPS)
		return sn_relay_other_event(id);
	return make_event(id, values, nulls, &none, t, json, max_text);
}

/* sn_relay_bad_event: an event that cannot be read */
SnRelayEvent *
sn_relay_bad_event(const pg_uuid_t *id, const char *error)
{
	SnRelayEvent *e = palloc0(sizeof(SnRelayEvent) + UUID_SIZE);
	char	   *at = (char *) (e + 1);

	e->error = error;
	e->event.block = at;
	e->event.event_id = put_uuid(&at, id);
	e->event.block_len = at - e->event.block;
	return e;
}

/* sn_relay_other_event: one that the relay does not send */
SnRelayEvent *
sn_relay_other_event(const pg_uuid_t *id)
{
	SnRelayEvent *e = sn_relay_bad_event(id, NULL);

	e->event.unwanted = true;
	return e;
}

/* is_its_fault: whether an error can be one event's, and will come again */
static bool
is_its_fault(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
			return false;
		case ERRCODE_INSUFFICIENT_RESOURCES:
			return sqlerrcode == ERRCODE_OUT_OF_MEMORY;
		default:
			return true;
	}
}

/*
 * sn_relay_guarded: do something that reads events; false and what the error
 * says when that fails because of what is read
 */
bool
sn_relay_guarded(void (*action) (void *), void *arg, char **error)
{
	ErrorData  *data = sn_guarded(action, arg, is_its_fault);

	if (data != NULL)
		*error = data->message;
	return data == NULL;
}
