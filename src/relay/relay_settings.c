/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_settings.c
 *		What a relay is told: where records go, and how they are made.
 *
 * The parameters of the server say it for the relay named "relay", and table relay
 * for the others.  A process
 * keeps a copy, so that nothing changes in the midst of a connection.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/control_type.h"
#include "base/guc.h"
#include "base/printable.h"
#include "base/sentinai.h"
#include "base/text.h"
#include "queue/filter.h"
#include "relay/relay_core.h"
#include "relay/relay_row.h"
#include "relay/relay_settings.h"
#include "shared/shmem.h"

/* copy_setting: the value of a parameter; "" for none */
static char *
copy_setting(const char *value)
{
	return pstrdup(value == NULL ? "" : value);
}

/*
 * sn_relay_type_list: the names in a list that commas separate; the list is
 * written over
 */
List *
sn_relay_type_list(char *list)
{
	List	   *names = NIL;
	char	   *rest = *list == '\0' ? NULL : list;

	while (rest != NULL)
	{
		char	   *name = rest + strspn(rest, " \t\n");
		Size		len;

		rest = strchr(rest, ',');
		if (rest != NULL)
			*rest++ = '\0';
		len = strlen(name);
		while (len > 0 && strchr(" \t\n", name[len - 1]) != NULL)
			len--;
		name[len] = '\0';
		names = lappend(names, name);
	}
	return names;
}

/*
 * filter_of_server: what sentinai.relay_event_types comes to.  What has a topic
 * of its own is sent whatever types are named.
 */
static void
filter_of_server(const SnRelaySettings *settings, SnFilter *filter)
{
	List	   *names = sn_relay_type_list(copy_setting(sn_relay_event_types));
	Datum	   *elems;
	ListCell   *lc;
	int			n = 0;

	filter->types.n = filter->tenants.n = filter->aggregate_types.n = -1;
	if (names == NIL)
		return;
	if (settings->dead_letter_topic[0] != '\0')
		names = lappend(names, SN_TYPE_RECORD_REFUSED);
	if (settings->control_topic[0] != '\0')
	{
#define SN_ADD_NAME(name) names = lappend(names, name);
		SN_CONTROL_TYPES(SN_ADD_NAME)
#undef SN_ADD_NAME
	}
	elems = palloc(list_length(names) * sizeof(Datum));
	foreach(lc, names)
		elems[n++] = CStringGetTextDatum(lfirst(lc));
	sn_names_of(elems, n, &filter->types);
}

/* free_rules: the memory that has the settings goes away */
static void
free_rules(void *rules)
{
	sn_record_rules_free(rules);
}

/* sn_relay_rules: what record_options say, until the memory context is reset */
SnRecordRules *
sn_relay_rules(const char *record_options)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	char		err[SN_ERROR_LEN];
	SnRecordRules *rules = sn_record_rules_parse(record_options, err,
												 sizeof(err));

	if (rules == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("record_options cannot be used: %s", err),
				 errhint(SN_RECORD_RULES_ARE)));
	callback->func = free_rules;
	callback->arg = rules;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return rules;
}

/* take_rules: a relay's own rules of records */
static void
take_rules(SnRelaySettings *settings, const char *record_options)
{
	settings->record_options = copy_setting(record_options);
	settings->rules = *record_options == '\0' ? NULL :
		sn_relay_rules(record_options);
}

/* sn_relay_settings_of_server: what the server's parameters say */
void
sn_relay_settings_of_server(SnRelaySettings *settings)
{
	const SnProvider *provider = sn_provider_wanted();

	settings->name = cstring_to_text(SN_RELAY_WORKER_TYPE);
	settings->provider = provider;
	settings->conf = copy_setting(provider == NULL ? NULL : *provider->value);
	settings->workers = Max(sn_relay_workers, 1);
	settings->format = (SnRecordFormat) sn_record_format;
	take_rules(settings, copy_setting(sn_relay_record_options));
	settings->transform_owner = "";
	settings->limits = sn_relay_limits_of(copy_setting(sn_relay_limits));
	settings->topic_template = copy_setting(sn_topic_template);
	settings->control_topic = copy_setting(sn_control_topic);
	settings->dead_letter_topic = copy_setting(sn_dead_letter_topic);
	filter_of_server(settings, &settings->filter);
}

/* sn_relay_format: a form of records by its name */
SnRecordFormat
sn_relay_format(const char *name)
{
	static const char *const names[] = {
		[SN_RECORD_CLOUDEVENTS] = "cloudevents",
		[SN_RECORD_DEBEZIUM] = "debezium",
		[SN_RECORD_RAW] = "raw",
		[SN_RECORD_STRUCTURED] = "cloudevents_structured"
	};
	int			i;

	for (i = 0; i < lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
			return (SnRecordFormat) i;
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("record_format must be \"cloudevents\", \"cloudevents_structured\", \"debezium\" or \"raw\"")));
	return SN_RECORD_CLOUDEVENTS;	/* not reached */
}

/* sn_relay_provider: a broker by its name; "none" is not one */
const SnProvider *
sn_relay_provider(const char *name)
{
	int			i;

	for (i = 0; i < SN_BROKER_KINDS; i++)
		if (sn_providers[i].settings != NULL &&
			strcmp(sn_providers[i].name, name) == 0)
			return &sn_providers[i];
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("there is no broker \"%s\"",
					text_to_cstring(sn_storable_text(name, strlen(name),
													 SN_ERROR_LEN)))));
	return NULL;				/* not reached */
}

/* sn_relay_limits_of: what limits say */
SnRelayLimits
sn_relay_limits_of(const char *limits)
{
	SnRelayLimits result;
	char		err[SN_ERROR_LEN];

	if (!sn_relay_limits_parse(limits, &result, err, sizeof(err)))
		ereport(ERROR,
				(errcode(ERRCODE_SN_INVALID),
				 errmsg("limits cannot be used: %s", err),
				 errhint("Limits are %s.", SN_RELAY_LIMITS_ARE)));
	return result;
}

/* sn_relay_window: most events that a process has sent without an answer */
int
sn_relay_window(const SnRelaySettings *settings)
{
	return settings->limits.in_flight > 0 ? settings->limits.in_flight :
		sn_relay_inflight;
}

/* sn_relay_share: what a process has of a limit, as all have the same */
double
sn_relay_share(const SnRelaySettings *settings, int limit)
{
	return (double) limit / Max(settings->workers, 1);
}

/*
 * sn_relay_tail: how many records at the end of a partition may be those that the
 * processes before these had on their way; 0: nobody wants to know
 */
int
sn_relay_tail(const SnRelaySettings *settings)
{
	if (settings->rules == NULL || !settings->rules->dedupe_tail)
		return 0;
	return (sn_relay_window(settings) + SN_MAX_PARKED) * settings->workers;
}

/*
 * sn_relay_settings_of_row: what create_relay() and alter_relay() said; false
 * when there is no such relay
 */
bool
sn_relay_settings_of_row(int sub_id, SnRelaySettings *settings)
{
	SnSub	   *sub = sn_sub_by_id(sub_id);
	SnRelayRow	row;

	if (sub == NULL || !sn_relay_row_get(sub_id, &row))
		return false;
	memset(settings, 0, sizeof(SnRelaySettings));
	settings->name = sn_text_copy(sub->worker_type);
	settings->provider = sn_relay_provider(row.broker);
	settings->conf = copy_setting(row.conf);
	settings->workers = row.workers;
	settings->format = sn_relay_format(row.record_format);
	take_rules(settings, row.record_options);
	settings->transform_owner = copy_setting(row.transform_owner);
	settings->limits = sn_relay_limits_of(row.limits);
	settings->topic_template = copy_setting(row.topic_template);
	settings->control_topic = "";
	settings->dead_letter_topic = settings->rules == NULL ? "" :
		copy_setting(settings->rules->dead_letter_topic);
	return true;
}

/* sn_relay_settings_same: whether a relay can go on with what it has */
bool
sn_relay_settings_same(const SnRelaySettings *a, const SnRelaySettings *b)
{
	return a->provider == b->provider && a->workers == b->workers &&
		a->format == b->format && strcmp(a->conf, b->conf) == 0 &&
		strcmp(a->topic_template, b->topic_template) == 0 &&
		strcmp(a->record_options, b->record_options) == 0 &&
		strcmp(a->transform_owner, b->transform_owner) == 0 &&
		memcmp(&a->limits, &b->limits, sizeof(SnRelayLimits)) == 0;
}
