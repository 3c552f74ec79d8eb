/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event_check.c
 *		What an event may be made of.
 *
 * Arguments are checked by their stored size before they are detoasted or
 * copied.  No error text has payload, metadata or anything else a caller sent
 * in it.  sn_may_publish() is the one place that asks whether the caller may
 * write for a tenant.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "base/guc.h"
#include "base/json_size.h"
#include "base/printable.h"
#include "base/text.h"
#include "log/event_check.h"
#include "registry/event_type.h"
#include "registry/json_walk.h"
#include "tenancy/gate.h"
#include "redact/redact.h"

#define CORRELATION_ID_MAX 512

/*
 * refuse_with: raise an error about an argument, with a hint unless it is NULL.
 * index is the place of the event in its batch, from 1, or 0 when there is no
 * batch.
 */
static void pg_attribute_noreturn()
refuse_with(int sqlstate, int index, const char *what, const char *why,
			const char *hint)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 index > 0 ?
			 errmsg("event %d of the batch: %s %s", index, what, why) :
			 errmsg("%s %s", what, why),
			 hint == NULL ? 0 : errhint("%s", hint)));
	pg_unreachable();
}

/* sn_event_refuse: the same without a hint */
void
sn_event_refuse(int sqlstate, int index, const char *what, const char *why)
{
	refuse_with(sqlstate, index, what, why, NULL);
}

void
sn_event_require(bool isnull, int index, const char *what)
{
	if (isnull)
		sn_event_refuse(ERRCODE_NULL_VALUE_NOT_ALLOWED, index, what, "must not be null");
}

/* sn_event_size: bytes of a value that is stored somewhere, without its header */
Size
sn_event_size(Datum value)
{
	return toast_raw_datum_size(value) - VARHDRSZ;
}

/* sn_event_text: a text of bounded size, of printable characters */
text *
sn_event_text(Datum value, Size max, int index, const char *what)
{
	text	   *t;

	if (sn_event_size(value) > max)
		sn_event_refuse(ERRCODE_SN_INVALID, index, what,
			   psprintf("must not be longer than %zu bytes", max));
	t = DatumGetTextPP(value);
	if (!sn_is_printable(t))
		refuse_with(ERRCODE_SN_INVALID, index, what,
					"must consist of printable characters",
					SN_PRINTABLE_HINT);
	return t;
}

/* sn_event_correlation: the name of a flow that a caller gives */
text *
sn_event_correlation(Datum value, int index)
{
	text	   *flow = sn_event_text(value, CORRELATION_ID_MAX, index,
									 "correlation_id");

	if (VARSIZE_ANY_EXHDR(flow) == 0)
		sn_event_refuse(ERRCODE_SN_INVALID, index, "correlation_id",
						"must not be empty");
	return flow;
}

/* A name that was checked, as most events have the one of the event before */
typedef struct KnownName
{
	Size		len;			/* 0: none */
	char		bytes[SN_TYPE_NAME_MAX];
} KnownName;

/* is_known: whether a name is the one that was checked last */
static bool
is_known(const KnownName *known, const text *t)
{
	return known->len > 0 && sn_text_has(t, known->bytes, known->len);
}

/* sn_is_control_type: whether events of a type tell about other events */
bool
sn_is_control_type(const text *t)
{
#define SN_IS_TYPE(name) || sn_text_is(t, name)
	return VARSIZE_ANY_EXHDR(t) > 0 && sn_may_be_control(*VARDATA_ANY(t)) &&
		(false SN_CONTROL_TYPES(SN_IS_TYPE));
#undef SN_IS_TYPE
}

/*
 * check_name: an event type or aggregate type; any_type: not only what callers
 * may publish.
 */
static text *
check_name(Datum value, bool isnull, int index, const char *what,
		   bool any_type, KnownName *known)
{
	text	   *t;

	sn_event_require(isnull, index, what);
	if (!VARATT_IS_EXTENDED(DatumGetPointer(value)) ||
		VARATT_IS_SHORT(DatumGetPointer(value)))
	{
		t = (text *) DatumGetPointer(value);
		if (is_known(known, t))
			return t;
	}
	t = sn_event_text(value, SN_TYPE_NAME_MAX, index, what);
	if (!sn_is_type_name(t))
		sn_event_refuse(ERRCODE_SN_INVALID, index, what, SN_TYPE_NAME_RULE);
	if (!any_type && sn_type_is_own(t))
		refuse_with(ERRCODE_SN_INVALID, index, what,
					"must not be one of the extension's own",
					"Control events such as RetryScheduled and DeadLettered are published by the extension alone.");
	known->len = VARSIZE_ANY_EXHDR(t);
	memcpy(known->bytes, VARDATA_ANY(t), known->len);
	return t;
}

/* check_event_type: mostly the type of the event before */
static text *
check_event_type(Datum value, bool isnull, int index)
{
	static KnownName known;

	return check_name(value, isnull, index, "event_type", false, &known);
}

/* sn_event_type_arg: the name of a type that events can have, control events, too */
text *
sn_event_type_arg(Datum value, const char *what)
{
	KnownName	known = {0};

	return check_name(value, false, 0, what, true, &known);
}

/* sn_event_aggregate_type: likewise */
text *
sn_event_aggregate_type(Datum value, bool isnull, int index)
{
	static KnownName known;

	return check_name(value, isnull, index, "aggregate_type", true, &known);
}

/*
 * check_fit: what readers will have to hold is bounded, too.  Returns how large
 * it is as text, at most.
 */
static Size
check_fit(Jsonb *json, Size max, int index, const char *what)
{
	Size		size;

	switch (sn_json_measure(json, max, &size))
	{
		case SN_JSON_FITS:
			break;
		case SN_JSON_TOO_LARGE:
			refuse_with(ERRCODE_SN_TOO_LARGE, index, what,
						psprintf("must not be larger than %zu kB as text",
								 max / 1024),
						"Numbers with large exponents are written out in full; a string can hold them as they are.");
		case SN_JSON_TOO_DEEP:
			refuse_with(ERRCODE_SN_INVALID, index, what,
						psprintf("must not be nested more than %d levels deep",
								 SN_JSON_DEPTH_MAX),
						"A string can hold the inner part as text.");
	}
	return size;
}

/* check_object: a JSON object of bounded size and depth; size: as text, at most */
static Jsonb *
check_object(Datum value, Size max, int index, const char *what, Size *size)
{
	Jsonb	   *json;

	if (sn_event_size(value) > max)
		sn_event_refuse(ERRCODE_SN_TOO_LARGE, index, what,
			   psprintf("must not be larger than %zu kB", max / 1024));
	json = DatumGetJsonbP(value);
	if (!JB_ROOT_IS_OBJECT(json))
		sn_event_refuse(ERRCODE_SN_INVALID, index, what, "must be a JSON object");
	*size = check_fit(json, max, index, what);
	return json;
}

/* event_object: the same for who wants no more than that */
static Jsonb *
event_object(Datum value, Size max, int index, const char *what)
{
	Size		size;

	return check_object(value, max, index, what, &size);
}

/* without: metadata without what only the extension says there */
static Jsonb *
without(Jsonb *metadata, const char *name)
{
	JsonbValue	given;

	if (getKeyJsonValueFromContainer(&metadata->root, name, strlen(name),
									 &given) == NULL)
		return metadata;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete,
											  JsonbPGetDatum(metadata),
											  CStringGetTextDatum(name)));
}

/*
 * sn_event_metadata: what a caller says about an event.  The id that outbox was
 * given stands there, too, and is the id of a record: nobody says that it was
 * given, and what was copied from another event is that event's.  So it is with
 * the list of what was redacted.
 */
Jsonb *
sn_event_metadata(Datum value, int index)
{
	Jsonb	   *metadata = event_object(value, SN_METADATA_MAX, index,
										   "metadata");

	if (JB_ROOT_COUNT(metadata) == 0)
		return metadata;
	return without(without(metadata, SN_OUTBOX_ID), SN_REDACTED_NAME);
}

/* tenant_name: what can be the name of a tenant, or be empty */
static text *
tenant_name(Datum value, int index, const char *what)
{
	text	   *tenant_id = sn_event_text(value, SN_TENANT_MAX, index, what);

	/* it ends at the colon in a partition key: ('a:b', 'c') is not ('a', 'b:c') */
	if (memchr(VARDATA_ANY(tenant_id), ':', VARSIZE_ANY_EXHDR(tenant_id)))
		sn_event_refuse(ERRCODE_SN_INVALID, index, what,
						"must not contain \":\"");
	return tenant_id;
}

/* sn_tenant_arg: the name of a tenant that events can have */
text *
sn_tenant_arg(Datum value, const char *what)
{
	text	   *tenant_id = tenant_name(value, 0, what);

	if (VARSIZE_ANY_EXHDR(tenant_id) == 0)
		sn_event_refuse(ERRCODE_SN_INVALID, 0, what, "must not be empty");
	return tenant_id;
}

/* sn_event_tenant: whose event it is, if the caller may write for them */
text *
sn_event_tenant(Datum value, bool isnull, int index)
{
	text	   *tenant_id;

	sn_event_require(isnull, index, "tenant_id");
	tenant_id = tenant_name(value, index, "tenant_id");
	if (!sn_may_publish(tenant_id))
		sn_event_refuse(ERRCODE_SN_TENANT_NOT_ALLOWED, index, "tenant_id",
			   "is not one the caller may publish for");
	return tenant_id;
}

static text *
check_aggregate_id(Datum value, bool isnull, int index)
{
	text	   *aggregate_id;

	if (isnull)
		return NULL;
	aggregate_id = sn_event_text(value, SN_AGGREGATE_ID_MAX, index,
							  "aggregate_id");
	if (VARSIZE_ANY_EXHDR(aggregate_id) == 0)
		sn_event_refuse(ERRCODE_SN_INVALID, index, "aggregate_id", "must not be empty");
	return aggregate_id;
}

/* sn_may_publish: whether the caller may publish for a tenant.  The only place that asks. */
bool
sn_may_publish(const text *tenant_id)
{
	return VARSIZE_ANY_EXHDR(tenant_id) > 0 &&
		sn_may(SN_RIGHT_PUBLISH, tenant_id);
}

/*
 * redact_payload: as it is to be stored, before anybody looks into it.  size: as
 * text, at most.  The metadata follows when the event's trace is in it, see
 * flow.h.
 */
static void
redact_payload(SnEvent *event, Size size, int index)
{
	Size		max = (Size) sn_max_payload * 1024;
	Jsonb	   *given = event->payload;

	event->payload = sn_redact_payload(event->tenant_id, event->event_type,
									   given, max);
	if (event->payload != given && !sn_redact_surely_fits(event->payload, size, max))
		(void) check_fit(event->payload, max, index, "payload");
}

/*
 * sn_check_event: the checked event made of the columns that every way to
 * publish has.  version is the one of its type that the publisher names, or 0.
 * index is the event's place in its batch, from 1, or 0.  sn_check_version()
 * has to follow.
 */
void
sn_check_event(SnEvent *event, const Datum *values, const bool *nulls,
			   int32 version, int index)
{
	Size		size;

	memset(event, 0, sizeof(SnEvent));
	event->deliver_at = DT_NOBEGIN;
	event->asked_version = version > 0 ? version : 1;
	event->event_type = check_event_type(values[SN_INPUT_EVENT_TYPE],
										 nulls[SN_INPUT_EVENT_TYPE], index);
	event->tenant_id = sn_event_tenant(values[SN_INPUT_TENANT_ID],
									   nulls[SN_INPUT_TENANT_ID], index);
	event->aggregate_id = check_aggregate_id(values[SN_INPUT_AGGREGATE_ID],
											 nulls[SN_INPUT_AGGREGATE_ID], index);
	sn_event_require(nulls[SN_INPUT_PAYLOAD], index, "payload");
	event->payload = check_object(values[SN_INPUT_PAYLOAD],
								  (Size) sn_max_payload * 1024, index,
								  "payload", &size);
	event->aggregate_type = sn_event_aggregate_type(values[SN_INPUT_AGGREGATE_TYPE],
												 nulls[SN_INPUT_AGGREGATE_TYPE],
												 index);
	event->metadata = nulls[SN_INPUT_METADATA] ? sn_json_empty() :
		sn_event_metadata(values[SN_INPUT_METADATA], index);
	if (!nulls[SN_INPUT_CORRELATION_ID])
		event->correlation_id =
			sn_event_correlation(values[SN_INPUT_CORRELATION_ID], index);
	if (sn_redact_asks())
		redact_payload(event, size, index);
}

/*
 * sn_check_version: which version of its type the event is, after a check of
 * its payload.  A call that is repeated publishes nothing, so it is not asked
 * what holds by now: whoever takes idempotency keys takes them before.
 */
void
sn_check_version(SnEvent *event, int32 version, int index)
{
	event->schema_version = event->asked_version;
	if (sn_type_asks())
		event->schema_version = sn_type_check(event->event_type, version,
											  event->payload, index);
}
