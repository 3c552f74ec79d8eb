/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * asyncapi.c
 *		asyncapi(): what a relay writes, as an AsyncAPI 3.0 document.
 *
 * The registry knows which types there are, and settings which topics.  It is
 * not known which aggregates have events of which type.  So all types are in
 * one channel, whose address has the placeholders of the topic template as
 * parameters.  Where the template has {event_type}, each type has its own; and
 * so has a type whose topic the relay's options name.
 *
 * The document is made as text.  A name in it that stands for an event type has
 * letters, digits, '.', '-' and '_' only; two types never share one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/control_type.h"
#include "base/guc.h"
#include "base/printable.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "log/event_check.h"
#include "queue/filter.h"
#include "registry/event_type.h"
#include "registry/register.h"
#include "registry/type_row.h"
#include "relay/asyncapi.h"
#include "tenancy/gate.h"

#define TITLE_MAX 1024			/* bytes */
#define NAMES_MAX 10000
#define REFUSED_SAYS \
	"Events that the broker has refused, with headers that say why: those of Kafka Connect (__connect.errors.*) and of Spring for Apache Kafka (kafka_dlt-*). A payload that is too large is left out."
#define REFUSED_SAYS_AMQP \
	"Events that the broker has refused, with headers that say why (__connect.errors.*). A payload that is too large is left out."

PG_FUNCTION_INFO_V1(sentinai_asyncapi);

/* What the document is made of */
typedef struct Api
{
	SnRelaySettings settings;	/* of the relay; its topic_template is not "" */
	SnNames		types;			/* that it sends; n < 0: all */
	SnApiRecords records;
	int			nmessages;
	int			room;
	SnApiMessage *messages;
	TimestampTz newest;			/* registration */
	int			naggregates;
	char	  **aggregates;		/* types that were named */
} Api;

/* Which messages a channel has */
typedef enum ChannelKind
{
	CHANNEL_COMMON,				/* of types without one of their own */
	CHANNEL_TYPE,				/* of one type */
	CHANNEL_CONTROL,
	CHANNEL_REFUSED				/* all that there are */
} ChannelKind;

/*
 * document_key: an event type as a name of the document: what may not stand there
 * becomes "__" and two digits, and so does what would look like that
 */
static char *
document_key(const char *event_type)
{
	StringInfoData key;
	const char *p;

	initStringInfo(&key);
	for (p = event_type; *p != '\0'; p++)
	{
		bool		plain = sn_is_topic_char(*p) &&
			(*p != '_' || (sn_is_topic_char(p[1]) && p[1] != '_') || p[1] == '\0');

		appendStringInfo(&key, plain ? "%c" : "__%02X", (unsigned char) *p);
	}
	return key.data;
}

/* utc_text: a time in UTC, to the second */
static char *
utc_text(TimestampTz at)
{
	pg_time_t	seconds = timestamptz_to_time_t(at);
	char	   *text = palloc(64);

	pg_strftime(text, 64, "%Y-%m-%dT%H:%M:%SZ", pg_gmtime(&seconds));
	return text;
}

/* names_arg: an array of names of types; NULL for null */
static char **
names_arg(FunctionCallInfo fcinfo, int n, const char *name, int *count)
{
	Datum	   *values;
	bool	   *nulls;
	char	  **names;
	int			i;

	*count = 0;
	if (PG_ARGISNULL(n))
		return NULL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false,
					  TYPALIGN_INT, &values, &nulls, count);
	if (*count > NAMES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("%s must not be more than %d", name, NAMES_MAX)));
	names = palloc(sizeof(char *) * (*count + 1));
	for (i = 0; i < *count; i++)
	{
		if (nulls[i] || !sn_is_type_name(DatumGetTextPP(values[i])))
			ereport(ERROR,
					(errcode(ERRCODE_SN_INVALID),
					 errmsg("%s: item %d %s", name, i + 1, SN_TYPE_NAME_RULE)));
		names[i] = TextDatumGetCString(values[i]);
	}
	return names;
}

/* title_arg: a text of the caller, or what stands for null */
static char *
title_arg(FunctionCallInfo fcinfo, int n, const char *name, char *otherwise)
{
	if (PG_ARGISNULL(n))
		return otherwise;
	return text_to_cstring(sn_check_printable(sn_text_arg(fcinfo, n, name,
														  TITLE_MAX), name));
}

/* relay_arg: the name of a relay */
static text *
relay_arg(FunctionCallInfo fcinfo)
{
	SN_REQUIRE_ARG(4, "relay");
	return sn_check_plain(PG_GETARG_TEXT_PP(4), "relay");
}

/* add_message: the row at hand */
static void
add_message(Api *api, const SnTypeScan *scan)
{
	SnApiMessage *message;
	TimestampTz registered =
		DatumGetTimestampTz(scan->values[Anum_type_registered_at - 1]);

	if (api->nmessages == api->room)
	{
		api->room = api->room == 0 ? 16 : api->room * 2;
		api->messages = api->messages == NULL ?
			palloc(sizeof(SnApiMessage) * api->room) :
			repalloc(api->messages, sizeof(SnApiMessage) * api->room);
	}
	message = &api->messages[api->nmessages++];
	message->event_type = text_to_cstring(scan->event_type);
	message->version = scan->version;
	message->key = psprintf("%s.v%d", document_key(message->event_type),
							scan->version);
	message->direction =
		TextDatumGetCString(scan->values[Anum_type_direction - 1]);
	message->description = scan->nulls[Anum_type_description - 1] ? NULL :
		TextDatumGetCString(scan->values[Anum_type_description - 1]);
	message->compatibility =
		TextDatumGetCString(scan->values[Anum_type_compatibility - 1]);
	message->deprecated_since = !scan->deprecated ? NULL :
		utc_text(DatumGetTimestampTz(scan->values[Anum_type_deprecated_since - 1]));
	message->schema = DatumGetJsonbPCopy(scan->values[Anum_type_schema - 1]);
	message->examples = DatumGetJsonbPCopy(scan->values[Anum_type_examples - 1]);
	message->control = sn_is_control_name(message->event_type);
	if (registered > api->newest)
		api->newest = registered;
}

/* has_topic: whether the relay has a topic for a type that is the extension's own */
static bool
has_topic(const Api *api, const text *event_type)
{
	return api->settings.control_topic[0] != '\0' &&
		sn_is_control_name(text_to_cstring(event_type)) &&
		!sn_text_is(event_type, SN_TYPE_RECORD_REFUSED);
}

/* take_all: every version of every type that is sent */
static void
take_all(Api *api)
{
	SnTypeScan	scan;

	sn_type_scan_begin(&scan, NULL, GetActiveSnapshot());
	while (sn_type_scan_next(&scan))
		if (!scan.dropped &&
			(sn_type_is_own(scan.event_type) ? has_topic(api, scan.event_type) :
			 api->types.n < 0 || sn_names_have(&api->types, scan.event_type)))
			add_message(api, &scan);
	sn_type_scan_end(&scan);
}

/* take_named: every version of one type */
static void
take_named(Api *api, const char *event_type)
{
	text	   *name = cstring_to_text(event_type);
	int			before = api->nmessages;
	SnTypeScan	scan;
	int			i;

	for (i = 0; i < before; i++)
		if (strcmp(api->messages[i].event_type, event_type) == 0)
			return;				/* it is named twice */
	sn_type_scan_begin(&scan, name, GetActiveSnapshot());
	while (sn_type_scan_next(&scan))
		if (!scan.dropped)
			add_message(api, &scan);
	sn_type_scan_end(&scan);
	if (api->nmessages == before)
		sn_unknown_type(name, 0);
}

/* put_parameters: the placeholders of an address */
static void
put_parameters(StringInfo out, const Api *api, const char *address)
{
	int			i;

	if (strchr(address, '{') == NULL)
		return;
	sn_api_open(out, "parameters");
	if (strstr(address, "{aggregate_type}") != NULL)
	{
		sn_api_open(out, "aggregate_type");
		sn_api_text(out, "description", "Kind of what the event is about.");
		if (api->naggregates > 0)
			sn_api_name(out, "enum");
		for (i = 0; i < api->naggregates; i++)
		{
			appendStringInfoString(out, i == 0 ? "[" : ", ");
			escape_json(out, api->aggregates[i]);
		}
		if (api->naggregates > 0)
			appendStringInfoChar(out, ']');
		sn_api_close(out);
	}
	if (strstr(address, "{tenant}") != NULL)
	{
		sn_api_open(out, "tenant");
		sn_api_text(out, "description", "The slug of the tenant.");
		sn_api_close(out);
	}
	sn_api_close(out);
}

/* put_bindings: what is known of a topic that the relay creates */
static void
put_bindings(StringInfo out, const Api *api, const char *address)
{
	if (api->records.amqp)
		return;
	sn_api_open(out, "bindings");
	sn_api_open(out, "kafka");
	if (strchr(address, '{') == NULL)
		sn_api_text(out, "topic", address);
	if (sn_topic_partitions > 0)
	{
		sn_api_name(out, "partitions");
		appendStringInfo(out, "%d", sn_topic_partitions);
	}
	if (sn_topic_partitions > 0 && sn_topic_replication > 0)
	{
		sn_api_name(out, "replicas");
		appendStringInfo(out, "%d", sn_topic_replication);
	}
	sn_api_text(out, "bindingVersion", "0.5.0");
	sn_api_close(out);
	sn_api_close(out);
}

/*
 * own_template: the template of a type that has a channel to itself, or NULL
 */
static const char *
own_template(const Api *api, const char *event_type)
{
	const char *mapped = api->settings.rules == NULL ? NULL :
	sn_record_rules_topic(api->settings.rules, event_type);

	if (mapped != NULL)
		return mapped;
	return strstr(api->settings.topic_template, "{event_type}") == NULL ? NULL :
		api->settings.topic_template;
}

/* goes_to: whether a message is one of a channel's; event_type: of CHANNEL_TYPE */
static bool
goes_to(const Api *api, const SnApiMessage *message, ChannelKind kind,
		const char *event_type)
{
	if (strcmp(message->event_type, SN_TYPE_RECORD_REFUSED) == 0 ||
		message->control != (kind == CHANNEL_CONTROL))
		return false;
	if (kind == CHANNEL_TYPE)
		return strcmp(event_type, message->event_type) == 0;
	return kind != CHANNEL_COMMON ||
		own_template(api, message->event_type) == NULL;
}

/* put_channel: a channel with all messages that go there */
static void
put_channel(StringInfo out, const Api *api, const char *name,
			const char *address, ChannelKind kind, const char *event_type)
{
	int			i;

	CHECK_FOR_INTERRUPTS();
	sn_api_open(out, name);
	sn_api_text(out, "address", address);
	if (kind == CHANNEL_REFUSED)
		sn_api_text(out, "description", api->records.amqp ? REFUSED_SAYS_AMQP :
					REFUSED_SAYS);
	put_parameters(out, api, address);
	sn_api_open(out, "messages");
	for (i = 0; i < api->nmessages; i++)
	{
		const SnApiMessage *message = &api->messages[i];

		if (goes_to(api, message, kind, event_type))
			sn_api_ref(out, message->key, psprintf("messages/%s", message->key));
	}
	sn_api_close(out);
	put_bindings(out, api, address);
	sn_api_close(out);
}

/* fill_type: the template with the event type put in; NULL: no topic has it */
static char *
fill_type(const char *topic_template, const char *event_type)
{
	static const char placeholder[] = "{event_type}";
	StringInfoData address;
	const char *at;

	if (event_type[strspn(event_type, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] != '\0')
		return NULL;
	initStringInfo(&address);
	for (; (at = strstr(topic_template, placeholder)) != NULL;
		 topic_template = at + strlen(placeholder))
	{
		appendBinaryStringInfo(&address, topic_template, at - topic_template);
		appendStringInfoString(&address, event_type);
	}
	appendStringInfoString(&address, topic_template);
	return address.data;
}

/* put_type_channels: those of types that have one to themselves */
static void
put_type_channels(StringInfo out, const Api *api, List **names)
{
	const char *before = "";
	int			i;

	for (i = 0; i < api->nmessages; i++)
	{
		const char *event_type = api->messages[i].event_type;
		const char *own = own_template(api, event_type);
		char	   *address = own == NULL ? NULL : fill_type(own, event_type);

		if (api->messages[i].control || address == NULL ||
			strcmp(before, event_type) == 0)
			continue;			/* or a version of the same */
		before = event_type;
		*names = lappend(*names, psprintf("events.%s", document_key(event_type)));
		put_channel(out, api, llast(*names), address, CHANNEL_TYPE, event_type);
	}
}

/* put_topic_channel: a channel of a topic, if it has a name */
static void
put_topic_channel(StringInfo out, const Api *api, char *name,
				  const char *topic, ChannelKind kind, List **names)
{
	if (*topic == '\0')
		return;
	*names = lappend(*names, name);
	put_channel(out, api, name, topic, kind, NULL);
}

/* put_channels: where events go; names gets those of the channels */
static void
put_channels(StringInfo out, const Api *api, List **names)
{
	const SnRelaySettings *settings = &api->settings;

	sn_api_open(out, "channels");
	if (strstr(settings->topic_template, "{event_type}") == NULL)
		put_topic_channel(out, api, "events", settings->topic_template,
						  CHANNEL_COMMON, names);
	put_type_channels(out, api, names);
	put_topic_channel(out, api, "control", settings->control_topic,
					  CHANNEL_CONTROL, names);
	put_topic_channel(out, api, "refused", settings->dead_letter_topic,
					  CHANNEL_REFUSED, names);
	sn_api_close(out);
}

/* put_operations: the relay sends to every channel */
static void
put_operations(StringInfo out, List *channels)
{
	ListCell   *cell;

	sn_api_open(out, "operations");
	foreach(cell, channels)
	{
		sn_api_open(out, psprintf("send.%s", (char *) lfirst(cell)));
		sn_api_text(out, "action", "send");
		sn_api_name(out, "channel");
		appendStringInfo(out, "{\"$ref\": \"#/channels/%s\"}",
						 (char *) lfirst(cell));
		sn_api_close(out);
	}
	sn_api_close(out);
}

/* has_control: whether any message is a control event */
static bool
has_control(const Api *api)
{
	int			i;

	for (i = 0; i < api->nmessages; i++)
		if (api->messages[i].control)
			return true;
	return false;
}

/* put_flow: where the id of a flow stands */
static void
put_flow(StringInfo out, const char *name, const char *place)
{
	sn_api_open(out, name);
	sn_api_text(out, "location", psprintf("$message.%s", place));
	sn_api_text(out, "description", "All events of a flow have it.");
	sn_api_close(out);
}

/* put_components: messages and schemas */
static void
put_components(StringInfo out, const Api *api)
{
	int			i;

	sn_api_open(out, "components");
	sn_api_open(out, "messages");
	for (i = 0; i < api->nmessages; i++)
		sn_api_message(out, &api->messages[i], &api->records);
	sn_api_close(out);
	sn_api_open(out, "schemas");
	sn_api_shared_schemas(out, &api->records, has_control(api));
	for (i = 0; i < api->nmessages; i++)
	{
		CHECK_FOR_INTERRUPTS();
		sn_api_schema(out, &api->messages[i]);
	}
	sn_api_close(out);
	sn_api_open(out, "correlationIds");
	if (api->records.format == SN_RECORD_CLOUDEVENTS || has_control(api))
		put_flow(out, "flow", api->records.amqp ?
				 "header#/cloudEvents:correlationid" : "header#/ce_correlationid");
	if (api->records.format == SN_RECORD_STRUCTURED)
		put_flow(out, "flow.structured", "payload#/correlationid");
	sn_api_close(out);
	sn_api_close(out);
}

/* named_settings: what a relay of create_relay() is told */
static void
named_settings(Api *api, const text *name)
{
	SnSub	   *sub = sn_sub_by_name(name);

	if (sub == NULL || !sub->is_relay || !sn_sub_may_watch(sub) ||
		!sn_relay_settings_of_row(sub->sub_id, &api->settings))
		ereport(ERROR,
				(errcode(ERRCODE_SN_NOT_FOUND),
				 errmsg("relay \"%s\" does not exist",
						text_to_cstring(name))));
	api->types = sub->segments[sub->nsegments - 1].filter.types;
}

/* api_settings: what the relay is told */
static void
api_settings(Api *api, const text *name)
{
	SnRelaySettings *settings = &api->settings;

	if (sn_text_is(name, SN_RELAY_WORKER_TYPE))
	{
		sn_relay_settings_of_server(settings);
		api->types = settings->filter.types;
	}
	else
		named_settings(api, name);
	if (settings->topic_template[0] == '\0')
		settings->topic_template =
			pstrdup(sn_record_default_topic(settings->format));
	api->records.format = settings->format;
	api->records.rules = settings->rules;
	api->records.amqp = settings->provider != NULL &&
		settings->provider->settings->is_amqp;
}

/*
 * asyncapi(title text, version text, event_types text[], aggregate_types text[],
 *		relay text) returns jsonb
 */
Datum
sentinai_asyncapi(PG_FUNCTION_ARGS)
{
	Api			api = {0};
	int			ntypes;
	char	  **types = names_arg(fcinfo, 2, "event_types", &ntypes);
	char	   *database = get_database_name(MyDatabaseId);
	List	   *channels = NIL;
	StringInfoData out;
	int			i;

	api.aggregates = names_arg(fcinfo, 3, "aggregate_types", &api.naggregates);
	api_settings(&api, PG_NARGS() < 5 ? cstring_to_text(SN_RELAY_WORKER_TYPE) :
				 relay_arg(fcinfo));
	for (i = 0; i < ntypes; i++)
		take_named(&api, types[i]);
	if (types == NULL)
		take_all(&api);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	sn_api_text(&out, "asyncapi", "3.0.0");
	sn_api_open(&out, "info");
	sn_api_text(&out, "title",
				title_arg(fcinfo, 0, "title",
						  psprintf("Events of database %s", database)));
	sn_api_text(&out, "version",
				title_arg(fcinfo, 1, "version",
						  api.newest == 0 ? "0" : utc_text(api.newest)));
	sn_api_close(&out);
	sn_api_text(&out, "defaultContentType", "application/json");
	sn_api_servers(&out, &api.settings);
	put_channels(&out, &api, &channels);
	put_operations(&out, channels);
	put_components(&out, &api);
	sn_api_close(&out);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
