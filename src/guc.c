/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * guc.c
 *		Every setting of the extension: what the list in base/settings.h comes to.
 *
 * Secrets are never settings: pg_settings shows values to every member of
 * pg_read_all_settings.  sentinai.kafka_conf names files instead.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/printable.h"
#include "base/sentinai.h"
#include "log/event_run.h"
#include "log/flow.h"
#include "queue/filter.h"
#include "relay/record.h"
#include "relay/relay_provider.h"
#include "relay/relay_settings.h"

#define SN_INT(name, ...) int sn_##name;
#define SN_BOOL(name, ...) bool sn_##name;
#define SN_ENUM(name, ...) int sn_##name;
#define SN_STRING(name, ...) char *sn_##name;
#include "base/settings.h"

static const struct config_enum_entry format_options[] = {
	{"cloudevents", SN_RECORD_CLOUDEVENTS, false},
	{"cloudevents_structured", SN_RECORD_STRUCTURED, false},
	{"debezium", SN_RECORD_DEBEZIUM, false},
	{"raw", SN_RECORD_RAW, false},
	{NULL, 0, false}
};

static const struct config_enum_entry timestamp_options[] = {
	{"sending", SN_TIME_SENDING, false},
	{"occurred", SN_TIME_OCCURRED, false},
	{NULL, 0, false}
};

static const struct config_enum_entry relay_start_options[] = {
	{"earliest", SN_RELAY_EARLIEST, false},
	{"latest", SN_RELAY_LATEST, false},
	{NULL, 0, false}
};

static const struct config_enum_entry unknown_type_options[] = {
	{"allow", SN_UNKNOWN_ALLOW, false},
	{"refuse", SN_UNKNOWN_REFUSE, false},
	{NULL, 0, false}
};

/* from the list of brokers */
static struct config_enum_entry broker_options[SN_BROKER_KINDS + 1];

/* Values below are more likely to be days or hours without their unit. */
#define LEAST_RETENTION 1440
#define LEAST_INTERVAL	60
#define LEAST_SECONDS	60

/*
 * warn_if_small: say what a number without a unit means
 *
 * To whom sets it, and once to the log: not again at a reload that changes
 * nothing, and not in every process that reads the file.
 */
static bool
warn_if_small(const char *name, int value, int now, int least,
			  const char *unit)
{
	if (value <= 0 || value >= least || value == now)
		return true;
	if (IsUnderPostmaster &&
		(debug_query_string == NULL || !IsTransactionState()))
		return true;
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("parameter \"%s\" is only %d %s", name, value, unit),
			 errdetail("A number without a unit means %s.", unit),
			 errhint("If that is not meant, write a unit, as in '30 d'.")));
	return true;
}

static bool
check_idempotency_window(int *newval, void **extra, GucSource source)
{
	return warn_if_small("sentinai.idempotency_window", *newval,
						 sn_idempotency_window, LEAST_SECONDS, "seconds");
}

static bool
check_partition_interval(int *newval, void **extra, GucSource source)
{
	return warn_if_small("sentinai.partition_interval", *newval,
						 sn_partition_interval, LEAST_INTERVAL, "minutes");
}

static bool
check_retention(int *newval, void **extra, GucSource source)
{
	return warn_if_small("sentinai.retention", *newval, sn_retention,
						 LEAST_RETENTION, "minutes");
}

static bool
check_dead_letter_retention(int *newval, void **extra, GucSource source)
{
	return warn_if_small("sentinai.dead_letter_retention", *newval,
						 sn_dead_letter_retention, LEAST_RETENTION, "minutes");
}

static bool
check_deadline_retention(int *newval, void **extra, GucSource source)
{
	return warn_if_small("sentinai.deadline_retention", *newval,
						 sn_deadline_retention, LEAST_RETENTION, "minutes");
}

static bool
check_topic_timeout(int *newval, void **extra, GucSource source)
{
	return warn_if_small("sentinai.topic_timeout", *newval, sn_topic_timeout,
						 LEAST_SECONDS, "seconds");
}

/* check_event_types: names of event types, separated by commas */
static bool
check_event_types(char **newval, void **extra, GucSource source)
{
	List	   *names;
	ListCell   *lc;

	if (*newval == NULL || **newval == '\0')
		return true;
	names = sn_relay_type_list(pstrdup(*newval));
	foreach(lc, names)
	{
		const char *name = lfirst(lc);

		if (strlen(name) <= SN_TYPE_NAME_MAX &&
			sn_is_type_name(cstring_to_text(name)))
			continue;
		GUC_check_errdetail("The name of an event type %s.",
							SN_TYPE_NAME_RULE);
		return false;
	}
	if (list_length(names) <= SN_FILTER_NAMES_MAX)
		return true;
	GUC_check_errdetail("There must not be more than %d names.",
						SN_FILTER_NAMES_MAX);
	return false;
}

/*
 * check_record_options: options of records that the server's relay can have.  A
 * transform needs an owner, which create_relay() notes, and the topic of dead
 * letters has a parameter.
 */
static bool
check_record_options(char **newval, void **extra, GucSource source)
{
	SnRecordRules *rules;
	char		err[SN_ERROR_LEN];

	if (*newval == NULL || **newval == '\0')
		return true;
	rules = sn_record_rules_parse(*newval, err, sizeof(err));
	if (rules == NULL)
		GUC_check_errdetail("%s.", err);
	else if (rules->transform != NULL)
		GUC_check_errdetail("Only relays of create_relay() have a transform.");
	else if (rules->dead_letter_topic != NULL)
		GUC_check_errdetail("The topic for dead letters is that of sentinai.dead_letter_topic.");
	else
	{
		sn_record_rules_free(rules);
		return true;
	}
	sn_record_rules_free(rules);
	return false;
}

/* check_relay_limits: limits that can hold */
static bool
check_relay_limits(char **newval, void **extra, GucSource source)
{
	SnRelayLimits limits;
	char		err[SN_ERROR_LEN];

	if (*newval == NULL || sn_relay_limits_parse(*newval, &limits, err, sizeof(err)))
		return true;
	GUC_check_errdetail("%s.", err);
	return false;
}

/* check_secret_directory: a path that means one directory, and not everything */
static bool
check_secret_directory(char **newval, void **extra, GucSource source)
{
	const char *value = *newval;
	size_t		len = value == NULL ? 0 : strlen(value);

	if (len == 0)
		return true;
	if (is_absolute_path(value) && strspn(value, "/") < len &&
		strstr(value, "/../") == NULL &&
		(len < 3 || strcmp(value + len - 3, "/..") != 0))
		return true;
	GUC_check_errdetail("The value must be an absolute path without \"..\", and not \"/\".");
	return false;
}

/* check_topic_template: placeholders and characters of a topic name */
static bool
check_topic_template(char **newval, void **extra, GucSource source)
{
	char		err[256];

	if (*newval == NULL || **newval == '\0' ||
		sn_record_check_template(*newval, err, sizeof(err)))
		return true;
	GUC_check_errdetail("The value cannot be used: %s.", err);
	return false;
}

/* check_control_topic: the name of a topic */
static bool
check_control_topic(char **newval, void **extra, GucSource source)
{
	char		err[256];

	if (*newval == NULL || **newval == '\0' ||
		sn_record_check_topic(*newval, err, sizeof(err)))
		return true;
	GUC_check_errdetail("The value cannot be used: %s.", err);
	return false;
}

/* may_come_with_connection: whether whoever connected may have set it */
static bool
may_come_with_connection(const struct config_generic *setting,
						 GucContext context)
{
	return context == PGC_USERSET ||
		(context == PGC_SUSET &&
		 pg_parameter_aclcheck(setting->name, setting->reset_srole,
							   ACL_SET) == ACLCHECK_OK);
}

/*
 * refuse_hidden: an error if a client has sent a value for a setting that is not his
 *
 * Where the library is not preloaded, the server takes any value with which a
 * connection begins, instead of what is configured.  It finds out that the client
 * may not set it when the setting is defined.  Then it has the default left.
 */
static void
refuse_hidden(void)
{
#define SN_INT(name, boot, least, most, context, ...) {"sentinai." #name, context},
#define SN_BOOL(name, boot, context, ...) {"sentinai." #name, context},
#define SN_ENUM(name, boot, options, context, ...) {"sentinai." #name, context},
#define SN_STRING(name, boot, context, ...) {"sentinai." #name, context},
	static const struct
	{
		const char *name;
		GucContext	context;
	}			ours[] = {
#include "base/settings.h"
	};
	int			n;
	struct config_generic **settings = sn_guc_variables(&n);
	int			i;
	int			j;

	for (i = 0; i < n; i++)
	{
		if (settings[i]->reset_source != PGC_S_CLIENT ||
			(settings[i]->flags & GUC_CUSTOM_PLACEHOLDER) == 0)
			continue;
		for (j = 0; j < lengthof(ours); j++)
			if (pg_strcasecmp(settings[i]->name, ours[j].name) == 0 &&
				!may_come_with_connection(settings[i], ours[j].context))
				ereport(ERROR,
						(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						 errmsg("permission denied to set parameter \"%s\"",
								ours[j].name),
						 errdetail("It came with the connection, before the library was loaded, and would hide what is configured.")));
	}
}

/* define_all: the settings of the list */
static void
define_all(void)
{
#define SN_INT(name, boot, least, most, context, flags, check, text, more) \
	DefineCustomIntVariable("sentinai." #name, text, more, &sn_##name, \
							boot, least, most, context, flags, \
							check, NULL, NULL);
#define SN_BOOL(name, boot, context, flags, text, more) \
	DefineCustomBoolVariable("sentinai." #name, text, more, &sn_##name, \
							 boot, context, flags, NULL, NULL, NULL);
#define SN_ENUM(name, boot, options, context, flags, text, more) \
	DefineCustomEnumVariable("sentinai." #name, text, more, &sn_##name, \
							 boot, options, context, flags, \
							 NULL, NULL, NULL);
#define SN_STRING(name, boot, context, flags, check, text, more) \
	DefineCustomStringVariable("sentinai." #name, text, more, &sn_##name, \
							   boot, context, flags, check, NULL, NULL);
#include "base/settings.h"
}

/* sn_guc_init: define all settings and reserve their prefix */
void
sn_guc_init(void)
{
	int			i;

	if (!process_shared_preload_libraries_in_progress)
		refuse_hidden();
	for (i = 0; i < SN_BROKER_KINDS; i++)
	{
		broker_options[i].name = sn_providers[i].name;
		broker_options[i].val = i;
	}
	define_all();
	sn_flow_define();
	sn_provider_define();
	MarkGUCPrefixReserved("sentinai");
}
