/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_command.c
 *		create_relay(), alter_relay(), drop_relay() and the switches of relays.
 *
 * A relay is a subscription that a process reads, and a row of table relay that
 * says where its records go.  All of these functions hold the lock of
 * subscriptions until the transaction ends.  The processes look at the row when
 * it was changed; the sequencer's process tells the launcher which there are.
 *
 * Who makes a relay has the server connect to somewhere, and read files of
 * secrets for that.  So it takes the right to set the parameter that says the
 * same for the relay of the server.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_parameter_acl.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/args.h"
#include "base/control_type.h"
#include "base/guc.h"
#include "log/event_check.h"
#include "queue/filter.h"
#include "queue/request.h"
#include "queue/sub_action.h"
#include "relay/relay_row.h"
#include "relay/relay_settings.h"
#include "relay/relay_transform.h"
#include "shared/recovery.h"
#include "store/xact_end.h"
#include "tenancy/right.h"

PG_FUNCTION_INFO_V1(sentinai_create_relay);
PG_FUNCTION_INFO_V1(sentinai_alter_relay);
PG_FUNCTION_INFO_V1(sentinai_drop_relay);
PG_FUNCTION_INFO_V1(sentinai_set_relay_paused);

#define MAX_RELAYS		32		/* of a database, beside the server's */

/* may_set_up: whether the caller may say where the server connects to */
static bool
may_set_up(const SnProvider *provider)
{
	return pg_parameter_aclcheck(provider->setting, GetUserId(),
								 ACL_ALTER_SYSTEM) == ACLCHECK_OK;
}

/* require_setup: an error unless the caller may */
static void
require_setup(const SnProvider *provider)
{
	if (!may_set_up(provider))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set up a relay"),
				 errdetail("Only superusers and roles with the right ALTER SYSTEM on parameter \"%s\" may do that.",
						   provider->setting)));
}

/*
 * require_some_setup: an error for who may set up no relay at all, and so hears
 * nothing of those there are
 */
static void
require_some_setup(void)
{
	int			i;

	for (i = 0; i < SN_BROKER_KINDS; i++)
		if (sn_providers[i].settings != NULL && may_set_up(&sn_providers[i]))
			return;
	require_setup(&sn_providers[SN_BROKER_KAFKA]);
}

/*
 * check_conf: what the broker's library shall be told.  The text may have a
 * secret in it, which is then an error: the statement is not for the log.
 */
static char *
check_conf(const SnProvider *provider, const text *settings)
{
	char	   *value = text_to_cstring(settings);
	char		err[256];

	if (!provider->settings->check(value, err, sizeof(err)))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("settings cannot be used: %s", err),
				 errhidestmt(true)));
	if (!provider->settings->complete(value))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("settings name no broker")));
	return value;
}

/* check_row_template: a template that can be one; NULL or "" for the format's */
static char *
check_row_template(char *value)
{
	char		err[256];

	if (value != NULL && *value != '\0' &&
		!sn_record_check_template(value, err, sizeof(err)))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("topic_template cannot be used: %s", err)));
	return value == NULL ? "" : value;
}

/* refuse_of_log: an error for options that make sense where topics are read again */
static void
refuse_of_log(const SnRecordRules *rules)
{
	const char *option = rules->dedupe_tail ? "dedupe" :
	rules->dead_letter_headers == SN_DEAD_SPRING ? "dead.letter.headers=spring" :
	NULL;

	if (option != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("records cannot be made: option \"%s\" is for relays to Kafka",
						option)));
}

/*
 * check_records: whether records can be made like that; returns whether what the
 * broker refuses goes to a topic.  again: the options were given now, so that the
 * transform has to be the caller's.
 */
static bool
check_records(SnRelayRow *row, bool again)
{
	SnRecordRules *rules = *row->record_options == '\0' ? NULL :
	sn_relay_rules(row->record_options);
	SnRecordOptions options = {
		.format = sn_relay_format(row->record_format),
		.topic_template = row->topic_template,
		.dead_letter_topic = rules == NULL ? NULL : rules->dead_letter_topic,
		.database = ""
	};
	char		err[256];
	SnRecordMaker *maker = sn_record_open(&options, err, sizeof(err));

	if (maker == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("records cannot be made: %s", err)));
	if (rules != NULL && !sn_relay_provider(row->broker)->settings->is_log)
		refuse_of_log(rules);
	sn_record_close(maker);
	if (again)
		row->transform_owner = rules == NULL || rules->transform == NULL ?
			"" : sn_transform_owner(rules->transform);
	return options.dead_letter_topic != NULL;
}

/*
 * want_refused: have a relay read, beside the types that are named, the events
 * that stand for what goes to its dead-letter topic; or not any more
 */
static void
want_refused(SnNames *types, bool wanted)
{
	text	   *refused = cstring_to_text(SN_TYPE_RECORD_REFUSED);
	Datum	   *elems = palloc((Max(types->n, 0) + 1) * sizeof(Datum));
	int			n = 0;
	int			i;

	if (types->n < 0 || sn_names_have(types, refused) == wanted)
		return;
	for (i = 0; i < types->n; i++)
		if (!sn_text_equal(types->names[i], refused))
			elems[n++] = PointerGetDatum(types->names[i]);
	if (wanted)
		elems[n++] = PointerGetDatum(refused);
	sn_names_of(elems, n, types);
}

/* check_workers: number of processes; 0: it is a sentinai-relay that sends */
static int
check_workers(int workers)
{
	if (workers < 0 || workers > SN_MAX_RELAY_WORKERS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("workers must be between 0 and %d",
						SN_MAX_RELAY_WORKERS)));
	return workers;
}

/* check_limits: limits that can hold; "" for none */
static char *
check_limits(char *limits)
{
	(void) sn_relay_limits_of(limits);
	return limits;
}

/* string_arg: an argument as a string; NULL for null */
static char *
string_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * with_dedupe: record options with what argument dedupe says, which is one of
 * them under a name of its own
 */
static const char *
with_dedupe(const char *options, const char *dedupe)
{
	if (dedupe == NULL)
		return options;
	if (strcmp(dedupe, "tail") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("dedupe can only be \"tail\""),
				 errhint("It ends with record_options that do not have it.")));
	if (sn_relay_rules(options)->dedupe_tail)
		return options;
	return psprintf("%s%sdedupe=tail", options, *options == '\0' ? "" : "; ");
}

/* relay_name_arg: the name of a relay; which the server's is must be said elsewhere */
static text *
relay_name_arg(FunctionCallInfo fcinfo)
{
	text	   *name;

	SN_REQUIRE_ARG(0, "name");
	name = sn_check_plain(PG_GETARG_TEXT_PP(0), "name");
	if (sn_text_is(name, SN_RELAY_WORKER_TYPE))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("the relay \"%s\" is the one of the server's parameters",
						SN_RELAY_WORKER_TYPE),
				 errhint("See sentinai.kafka_conf and sentinai.relay_event_types.")));
	return name;
}

/* require_relay: the subscription of a relay that create_relay() has made */
static SnSub *
require_relay(const text *name)
{
	SnSub	   *sub = sn_sub_by_name(name);

	if (sub == NULL || !sub->is_relay)
		ereport(ERROR,
				(errcode(ERRCODE_SN_NOT_FOUND),
				 errmsg("relay \"%s\" does not exist", text_to_cstring(name))));
	return sub;
}

/*
 * take_relay: the relay that the first argument names, and its row, for whoever
 * is going to change them
 */
static SnSub *
take_relay(FunctionCallInfo fcinfo, text **name, SnRelayRow *row)
{
	SnSub	   *sub;

	*name = relay_name_arg(fcinfo);
	(void) sn_lock_streams(true);
	sub = require_relay(*name);
	if (!sn_relay_row_get(sub->sub_id, row))
		elog(ERROR, "relay %d has no row", sub->sub_id);
	return sub;
}

/* relay_filter_of: what events a relay sends now */
static const SnFilter *
relay_filter_of(const SnSub *sub)
{
	return &sub->segments[sub->nsegments - 1].filter;
}

/* A relay at a time, for the action log; what is copied stays as it was */
typedef struct RelayShape
{
	SnFilter	filter;			/* first: sn_record_told() */
	SnRelayRow	row;
} RelayShape;

/* relay_shape: what a relay is; its row has texts of its own */
static RelayShape *
relay_shape(const SnRelayRow *row, const SnSub *sub)
{
	RelayShape *shape = palloc(sizeof(RelayShape));

	sn_filter_copy(&shape->filter, relay_filter_of(sub));
	shape->row = *row;
	return shape;
}

/*
 * relay_json: a relay as it is for a tenant.  Without its settings, which only
 * superusers can read as a parameter
 */
static Jsonb *
relay_json(const void *what, const text *tenant_id)
{
	const SnFilter *filter = &((const RelayShape *) what)->filter;
	const SnRelayRow *row = &((const RelayShape *) what)->row;

	return sn_action_json("broker", row->broker,
						  "event_types", sn_names_string(&filter->types),
						  "aggregate_types",
						  sn_names_string(&filter->aggregate_types),
						  "tenant", sn_filter_tells(filter, tenant_id),
						  "topic_template", row->topic_template,
						  "record_format", row->record_format,
						  "record_options", row->record_options,
						  "limits", row->limits,
						  "workers", psprintf("%d", row->workers),
						  "paused", row->paused ? "true" : "false",
						  NULL);
}

/* record_relay: write down what was done to a relay */
static void
record_relay(const char *action, const text *name, const RelayShape *before,
			 const RelayShape *after)
{
	sn_record_told(action, name, relay_json, (const SnFilter *) before,
				   (const SnFilter *) after);
}

/* decide_switch: whether the relay is paused from now on, in this place */
static void
decide_switch(SnRelayRow *row, bool paused)
{
	(void) sn_node_elsewhere(&row->node_no, &row->recovery);
	if (row->node_no == 0)
		row->recovery = sn_recovery_id();
	row->paused = paused;
}

/* note_relays: have the relays, and who starts them, look after the commit */
static void
note_relays(void)
{
	CommandCounterIncrement();
	sn_note_relay_change();
	sn_note_relays_changed();
}

/* create_relay(name, broker, settings, event_types, aggregate_types, ...) */
Datum
sentinai_create_relay(PG_FUNCTION_ARGS)
{
	SnRequest	request = {0};
	SnRelayRow	row = {0};
	const SnProvider *provider;
	char	   *format;

	SN_REQUIRE_ARG(1, "broker");
	SN_REQUIRE_ARG(2, "settings");
	SN_REQUIRE_ARG(8, "start_from");
	SN_REQUIRE_ARG(9, "workers");
	PreventCommandIfReadOnly("create_relay()");
	provider = sn_relay_provider(string_arg(fcinfo, 1));
	require_setup(provider);
	request.worker_type = relay_name_arg(fcinfo);
	row.broker = provider->name;
	row.conf = check_conf(provider, PG_GETARG_TEXT_PP(2));
	sn_request_names(fcinfo, 3, "event_types", sn_event_type_arg,
					 &request.filter.types);
	sn_request_names(fcinfo, 4, "aggregate_types", sn_event_type_arg,
					 &request.filter.aggregate_types);
	sn_request_names(fcinfo, 5, "tenants", sn_tenant_arg,
					 &request.filter.tenants);
	row.topic_template = check_row_template(string_arg(fcinfo, 6));
	format = string_arg(fcinfo, 7);
	row.record_format = format == NULL ? "cloudevents" : format;
	row.record_options = with_dedupe(PG_ARGISNULL(10) ? "" :
									 string_arg(fcinfo, 10),
									 string_arg(fcinfo, 12));
	want_refused(&request.filter.types, check_records(&row, true));
	sn_request_start(PG_GETARG_TEXT_PP(8), &request);
	row.workers = check_workers(PG_GETARG_INT32(9));
	row.limits = PG_ARGISNULL(11) ? "" : check_limits(string_arg(fcinfo, 11));

	(void) sn_node_activate();
	(void) sn_lock_streams(true);
	if (list_length(sn_relay_rows()) >= MAX_RELAYS)
		ereport(ERROR,
				(errcode(ERRCODE_SN_CONFLICT),
				 errmsg("there are too many relays"),
				 errdetail("A database can have %d of them.", MAX_RELAYS)));
	row.sub_id = sn_sub_make_relay(&request);
	decide_switch(&row, false);
	sn_relay_row_put(&row);
	record_relay("create_relay", request.worker_type, NULL,
				 relay_shape(&row, require_relay(request.worker_type)));
	note_relays();
	PG_RETURN_VOID();
}

/*
 * alter_part: a part of the filter: as it is given, all, or what it was.
 */
static void
alter_part(FunctionCallInfo fcinfo, int argno, const char *name, int all_argno,
			text *(*check) (Datum, const char *), SnNames *names)
{
	bool		all;

	SN_REQUIRE_ARG(all_argno, psprintf("all_%s", name));
	all = PG_GETARG_BOOL(all_argno);
	if (all && !PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s and all_%s cannot be given together", name, name)));
	if (all || !PG_ARGISNULL(argno))
		sn_request_names(fcinfo, argno, name, check, names);
}

/* alter_relay_filter: what events the relay sends, for what is published from now on */
static void
alter_relay_filter(FunctionCallInfo fcinfo, SnSub *sub, bool refused)
{
	SnFilter	filter = *relay_filter_of(sub);

	alter_part(fcinfo, 2, "event_types", 8, sn_event_type_arg, &filter.types);
	alter_part(fcinfo, 3, "aggregate_types", 9, sn_event_type_arg,
			   &filter.aggregate_types);
	alter_part(fcinfo, 4, "tenants", 10, sn_tenant_arg, &filter.tenants);
	want_refused(&filter.types, refused);
	(void) sn_sub_refilter(sub->sub_id, &filter, true);
}

/* alter_relay(name, settings, event_types, aggregate_types, ...) */
Datum
sentinai_alter_relay(PG_FUNCTION_ARGS)
{
	text	   *name;
	SnSub	   *sub;
	SnRelayRow	row;
	RelayShape *before;
	const SnProvider *provider;

	PreventCommandIfReadOnly("alter_relay()");
	require_some_setup();
	sub = take_relay(fcinfo, &name, &row);
	provider = sn_relay_provider(row.broker);
	require_setup(provider);
	before = relay_shape(&row, sub);
	if (!PG_ARGISNULL(1))
		row.conf = check_conf(provider, PG_GETARG_TEXT_PP(1));
	if (!PG_ARGISNULL(5))
		row.topic_template = check_row_template(string_arg(fcinfo, 5));
	if (!PG_ARGISNULL(6))
		row.record_format = string_arg(fcinfo, 6);
	if (!PG_ARGISNULL(7))
		row.workers = check_workers(PG_GETARG_INT32(7));
	if (!PG_ARGISNULL(11))
		row.record_options = string_arg(fcinfo, 11);
	row.record_options = with_dedupe(row.record_options,
									 string_arg(fcinfo, 13));
	if (!PG_ARGISNULL(12))
		row.limits = check_limits(string_arg(fcinfo, 12));
	alter_relay_filter(fcinfo, sub,
					   check_records(&row, !PG_ARGISNULL(11)));
	sn_relay_row_remove(row.sub_id);
	sn_relay_row_put(&row);
	record_relay("alter_relay", name, before,
				 relay_shape(&row, require_relay(name)));
	note_relays();
	PG_RETURN_VOID();
}

/* drop_relay(name) returns the number of events that were not sent */
Datum
sentinai_drop_relay(PG_FUNCTION_ARGS)
{
	text	   *name;
	const SnSub *sub;
	SnRelayRow	row;
	int64		unsent;

	PreventCommandIfReadOnly("drop_relay()");
	require_some_setup();
	sub = take_relay(fcinfo, &name, &row);
	require_setup(sn_relay_provider(row.broker));
	record_relay("drop_relay", name, relay_shape(&row, sub), NULL);
	unsent = sn_sub_drop_relay(name);
	sn_relay_row_remove(row.sub_id);
	note_relays();
	if (unsent > 0)
		ereport(NOTICE,
				(errmsg("relay \"%s\" had " INT64_FORMAT " events that were not sent",
						text_to_cstring(name), unsent)));
	PG_RETURN_INT64(unsent);
}

/* set_relay_paused(name, paused): for pause_relay() and resume_relay() */
Datum
sentinai_set_relay_paused(PG_FUNCTION_ARGS)
{
	text	   *name;
	bool		paused;
	SnSub	   *sub;
	SnRelayRow	row;
	RelayShape *before;

	SN_REQUIRE_ARG(1, "paused");
	PreventCommandIfReadOnly("set_relay_paused()");
	paused = PG_GETARG_BOOL(1);
	sub = take_relay(fcinfo, &name, &row);
	before = relay_shape(&row, sub);
	decide_switch(&row, paused);
	sn_relay_row_remove(row.sub_id);
	sn_relay_row_put(&row);
	record_relay(paused ? "pause_relay" : "resume_relay", name, before,
				 relay_shape(&row, require_relay(name)));
	note_relays();
	PG_RETURN_VOID();
}
