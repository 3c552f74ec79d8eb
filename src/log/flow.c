/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * flow.c
 *		What an event inherits: correlation, causation, trace context.
 *
 * work_on() sets sentinai.work_on, which names the event that the rest of the
 * transaction works on; the server's settings end with the transaction and
 * roll back with a savepoint by themselves.  Events that are published then
 * have that event for their cause, are part of its flow, and go on with its
 * trace.  What was resolved of the event is kept until the transaction ends.
 *
 * The span of an event in a trace is the second half of its id: 64 bits, of
 * which 62 are random, never zero.  An event that goes on with the trace of
 * the one it comes from says that this is its parent: the caller's span is
 * what a traceparent has to name, and the caller of whoever receives the event
 * is who published it, not who published its cause.  Whoever has the id of an
 * event knows its span without a column for it, see get_trace().
 *
 * A traceparent that an application gives, in the metadata or in the setting
 * sentinai.traceparent, is passed on as it is: it names a span of the
 * application's own, which is the one to be continued.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/text.h"
#include "base/trace_context.h"
#include "log/event_check.h"
#include "log/flow.h"
#include "log/log_read.h"

#define UUID_TEXT_LEN 36

PG_FUNCTION_INFO_V1(sentinai_work_on);

/* What sentinai.work_on says, as its check hook has read it */
typedef struct WorkOn
{
	pg_uuid_t	event_id;
	bool		of_client;		/* given as the session began, for all of it */
	LocalTransactionId lxid;	/* otherwise: in this transaction, for it */
} WorkOn;

/* What was found of the event that is worked on */
typedef struct Flow
{
	pg_uuid_t	event_id;
	text	   *correlation_id;
	SnTrace		trace;
} Flow;

bool		sn_flow_on = false;

static char *work_on_value = NULL;
static char *traceparent_value = NULL;

static const WorkOn *work_on = NULL;	/* the setting's; NULL: says nothing */
static SnTrace given;			/* what sentinai.traceparent comes to */
static bool given_is_new;		/* it was malformed */

static Flow *flow = NULL;
static MemoryContext flow_memory = NULL;	/* of that, until the transaction ends */
static LocalTransactionId flow_lxid = InvalidLocalTransactionId;

/* read_uuid: a UUID in its usual form.  uuid_in() would raise an error. */
static bool
read_uuid(const char *text, pg_uuid_t *id)
{
	int			at = 0;
	int			i;

	if (strlen(text) != UUID_TEXT_LEN)
		return false;
	for (i = 0; i < UUID_LEN; i++)
	{
		if ((i == 4 || i == 6 || i == 8 || i == 10) && text[at++] != '-')
			return false;
		if (!sn_hex_bytes(text + at, 1, &id->data[i]))
			return false;
		at += 2;
	}
	return true;
}

/*
 * check_work_on: the id of an event.  In a configuration file, or for a role,
 * it would name one for all time.
 */
static bool
check_work_on(char **newval, void **extra, GucSource source)
{
	WorkOn		w = {.of_client = source == PGC_S_CLIENT};
	WorkOn	   *result;

	if (*newval == NULL || **newval == '\0')
		return true;
	if (source != PGC_S_CLIENT && source != PGC_S_SESSION)
	{
		GUC_check_errdetail("It is set for a transaction, or as a session begins.");
		return false;
	}
	if (!read_uuid(*newval, &w.event_id))
	{
		GUC_check_errdetail("The value must be the id of an event, or empty.");
		return false;
	}
	if (MyProc != NULL)
		w.lxid = sn_lxid();
	result = sn_guc_malloc(sizeof(WorkOn));
	if (result == NULL)
		return false;
	*result = w;
	*extra = result;
	return true;
}

/* note_flow_set: whether anything is set */
static void
note_flow_set(void)
{
	sn_flow_on = work_on != NULL || given.parent[0] != '\0';
}

static void
assign_work_on(const char *newval, void *extra)
{
	work_on = extra;
	note_flow_set();
}

/* start_trace: a trace of our own.  The span is filled in later. */
static void
start_trace(SnTrace *trace)
{
	snprintf(trace->parent, sizeof(trace->parent),
			 "00-%016llx%016llx-%016x-01",
			 (unsigned long long) pg_prng_uint64(&pg_global_prng_state) | 1,
			 (unsigned long long) pg_prng_uint64(&pg_global_prng_state), 0);
	trace->state = NULL;
}

/*
 * assign_traceparent: any text is taken, for it comes from drivers and from
 * other people's requests.  A malformed one starts a trace, as W3C says; all
 * that is published under it is part of that.
 */
static void
assign_traceparent(const char *newval, void *extra)
{
	bool		none = newval == NULL || *newval == '\0';

	given_is_new = false;
	memset(&given, 0, sizeof(given));
	if (!none && !sn_trace_parse(newval, strlen(newval), given.parent))
	{
		start_trace(&given);
		given_is_new = true;
	}
	note_flow_set();
}

/* sn_flow_define: the settings that need more than a check hook */
void
sn_flow_define(void)
{
	DefineCustomStringVariable("sentinai.work_on",
							   "Event that this transaction works on: what it publishes has it for its cause.",
							   "work_on() sets it. It ends with the transaction, unless the connection began with it.",
							   &work_on_value, "", PGC_USERSET,
							   GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   check_work_on, assign_work_on, NULL);
	DefineCustomStringVariable("sentinai.traceparent",
							   "W3C traceparent of events that have none in their metadata.",
							   "For drivers: SET LOCAL in the transaction that publishes.",
							   &traceparent_value, "", PGC_USERSET,
							   GUC_NOT_IN_SAMPLE,
							   NULL, assign_traceparent, NULL);
}

/* is_working: whether this transaction works on an event */
static bool
is_working(void)
{
	return work_on != NULL &&
		(work_on->of_client || work_on->lxid == sn_lxid());
}

/* find_string: a string in metadata: false when there is none, or no string */
static bool
find_string(Jsonb *metadata, const char *name, JsonbValue *value)
{
	return JB_ROOT_COUNT(metadata) > 0 &&
		getKeyJsonValueFromContainer(&metadata->root, name, strlen(name),
									 value) != NULL &&
		value->type == jbvString;
}

/* read_tracestate: the tracestate in metadata, if it is one */
static char *
read_tracestate(Jsonb *metadata)
{
	JsonbValue	value;
	char	   *state;

	if (!find_string(metadata, "tracestate", &value))
		return NULL;
	state = pnstrdup(value.val.string.val, value.val.string.len);
	return sn_is_tracestate(state) ? state : NULL;
}

/* read_trace: the trace that events caused by one with this metadata go on with */
static void
read_trace(Jsonb *metadata, SnTrace *trace)
{
	JsonbValue	value;

	memset(trace, 0, sizeof(SnTrace));
	if (!find_string(metadata, "traceparent", &value))
		return;
	if (sn_trace_parse(value.val.string.val, value.val.string.len,
					   trace->parent))
		trace->state = read_tracestate(metadata);
	else
		trace->parent[0] = '\0';
}

/* unknown_event: nobody learns whether there is one of another tenant */
static void pg_attribute_noreturn()
unknown_event(const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_NOT_FOUND),
			 errmsg("there is no event %s to work on",
					DatumGetCString(DirectFunctionCall1(uuid_out,
														UUIDPGetDatum(id)))),
			 errhint("Its partition may have been dropped by retention, or it belongs to a tenant that the caller may not publish for.")));
	pg_unreachable();
}

/* read_flow: what the fetched event hands down */
static Flow *
read_flow(SnLogReader *log, const pg_uuid_t *id)
{
	Flow	   *result = palloc(sizeof(Flow));
	text	   *flow_name = sn_log_text(log, Anum_log_correlation_id);
	bool		isnull;

	if (flow_name == NULL)
		flow_name = sn_log_text(log, Anum_log_aggregate_id);
	result->event_id = *id;
	/* an event of the tenant itself names its flow by its own id */
	result->correlation_id = flow_name != NULL ?
		(text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(flow_name)) :
		cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out,
															UUIDPGetDatum(id))));
	read_trace(DatumGetJsonbP(sn_log_datum(log, Anum_log_metadata, &isnull)),
			   &result->trace);
	return result;
}

/* take_flow_memory: for one flow, in this transaction */
static MemoryContext
take_flow_memory(void)
{
	flow = NULL;
	if (flow_lxid == sn_lxid())
		MemoryContextReset(flow_memory);
	else
		flow_memory = AllocSetContextCreate(TopTransactionContext,
											"sentinai flow",
											ALLOCSET_SMALL_SIZES);
	flow_lxid = sn_lxid();
	return flow_memory;
}

/*
 * resolve_flow: the flow of an event, or SN404.  It is kept until the transaction
 * ends or works on another.
 */
static Flow *
resolve_flow(const pg_uuid_t *id)
{
	Snapshot	snapshot;
	SnLogReader *log;
	MemoryContext old;
	text	   *tenant_id;

	if (flow_lxid == sn_lxid() && flow != NULL &&
		sn_uuid_cmp(&flow->event_id, id) == 0)
		return flow;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	log = sn_log_begin(snapshot);
	if (!sn_log_fetch(log, id))
		unknown_event(id);
	tenant_id = sn_log_text(log, Anum_log_tenant_id);
	if (!sn_may_publish(tenant_id))
		unknown_event(id);
	old = MemoryContextSwitchTo(take_flow_memory());
	flow = read_flow(log, id);
	MemoryContextSwitchTo(old);
	sn_log_end(log);
	UnregisterSnapshot(snapshot);
	return flow;
}

/* sn_flow_inherit: correlation and causation, as far as they are not given */
void
sn_flow_inherit(SnEvent *event)
{
	Flow	   *f;

	if (!is_working())
		return;
	f = resolve_flow(&work_on->event_id);
	if (event->correlation_id == NULL)
		event->correlation_id = f->correlation_id;
	if (event->causation_id == NULL)
		event->causation_id = &f->event_id;
}

/* push: a key and a string of an object that is put together */
static void
push(JsonbParseState **state, const char *name, const char *string)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = (char *) name;
	value.val.string.len = strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = (char *) string;
	value.val.string.len = strlen(string);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/* with_trace: metadata with this trace in it and no other */
static Jsonb *
with_trace(Jsonb *metadata, const SnTrace *trace)
{
	JsonbParseState *state = NULL;
	Jsonb	   *object;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push(&state, "traceparent", trace->parent);
	if (trace->state != NULL)
		push(&state, "tracestate", trace->state);
	object = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	if (JB_ROOT_COUNT(metadata) == 0)
		return object;
	if (trace->state == NULL)
		metadata = DatumGetJsonbP(DirectFunctionCall2(jsonb_delete,
													  JsonbPGetDatum(metadata),
													  PointerGetDatum(cstring_to_text("tracestate"))));
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
											  JsonbPGetDatum(metadata),
											  JsonbPGetDatum(object)));
}

/*
 * sn_flow_span_at: where the span stands in metadata that has a trace of ours;
 * 0 when a rule has redacted that
 */
int
sn_flow_span_at(Jsonb *metadata)
{
	JsonbValue	value;

	if (!find_string(metadata, "traceparent", &value) ||
		value.val.string.len != SN_TRACEPARENT_LEN)
		return 0;
	return (int) (value.val.string.val - (char *) metadata) +
		SN_TRACE_SPAN_AT;
}

/* has_key: whether metadata has a value of that name, of any kind */
static bool
has_key(Jsonb *metadata, const char *name)
{
	JsonbValue	value;

	return getKeyJsonValueFromContainer(&metadata->root, name, strlen(name),
										&value) != NULL;
}

/*
 * own_trace: what the metadata itself says.  False: nothing.  is_new: it is
 * malformed.  is_same: it can stay as it is.  A tracestate that is none goes:
 * agents hand it on in the headers of their requests, and it may hold anything.
 */
static bool
own_trace(Jsonb *metadata, SnTrace *trace, bool *is_new, bool *is_same)
{
	JsonbValue	value;

	*is_new = *is_same = false;
	if (JB_ROOT_COUNT(metadata) == 0 ||
		getKeyJsonValueFromContainer(&metadata->root, "traceparent",
									 strlen("traceparent"), &value) == NULL ||
		value.type == jbvNull)
		return false;
	read_trace(metadata, trace);
	*is_new = trace->parent[0] == '\0';
	*is_same = !*is_new && value.val.string.len == SN_TRACEPARENT_LEN &&
		(trace->state != NULL || !has_key(metadata, "tracestate"));
	if (*is_new)
		start_trace(trace);
	return true;
}

/*
 * sn_flow_metadata: the metadata of an event with its trace: its own, or that
 * of the setting, or that of the event which is worked on.  span_at: where the
 * event's span has to be put as soon as its id is known, or 0.
 */
Jsonb *
sn_flow_metadata(Jsonb *metadata, int *span_at)
{
	SnTrace		trace;
	bool		is_new;
	bool		is_same;

	*span_at = 0;
	if (own_trace(metadata, &trace, &is_new, &is_same))
	{
		if (is_same)
			return metadata;
	}
	else if (given.parent[0] != '\0')
	{
		trace = given;
		is_new = given_is_new;
		if (!is_new && sn_is_tracestate(sn_tracestate))
			trace.state = sn_tracestate;
	}
	else
	{
		if (!is_working())
			return metadata;
		trace = resolve_flow(&work_on->event_id)->trace;
		if (trace.parent[0] == '\0')
			return metadata;
		is_new = true;
	}
	metadata = with_trace(metadata, &trace);
	if (is_new)
		*span_at = sn_flow_span_at(metadata);
	return metadata;
}

/*
 * sn_flow_redact: metadata, which events can share, as the rules for this one
 * make it.  Its payload was redacted last.
 */
void
sn_flow_redact(SnEvent *event)
{
	Jsonb	   *given = event->metadata;

	event->metadata = sn_redact_metadata(event->tenant_id, given,
										 SN_METADATA_MAX);
	if (event->metadata != given && event->span_at != 0)
		event->span_at = sn_flow_span_at(event->metadata);
}

/*
 * sn_flow_of: an event about another, which has no metadata of its own, goes on
 * with the other's trace whatever the caller works on.
 */
void
sn_flow_of(SnEvent *event, Jsonb *cause_metadata)
{
	SnTrace		trace;

	read_trace(cause_metadata, &trace);
	if (trace.parent[0] == '\0')
		return;
	event->metadata = with_trace(event->metadata, &trace);
	event->span_at = sn_flow_span_at(event->metadata);
}

/*
 * work_on(event_id uuid) returns void: for the rest of the transaction, as SET
 * LOCAL does, so that no session behind a pool goes on with it
 */
Datum
sentinai_work_on(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id;

	SN_REQUIRE_ARG(0, "event_id");
	id = PG_GETARG_UUID_P(0);
	(void) resolve_flow(id);
	(void) set_config_option("sentinai.work_on",
							 DatumGetCString(DirectFunctionCall1(uuid_out,
																 UUIDPGetDatum(id))),
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
							 true, 0, false);
	PG_RETURN_VOID();
}
