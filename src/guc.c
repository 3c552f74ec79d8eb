/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * guc.c
 *		Every setting of the extension.
 *
 * Secrets are never settings: pg_settings shows values to every member of
 * pg_read_all_settings.  sentinai.kafka_conf names files instead.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"

#include "base/guc.h"
#include "base/sentinai.h"
#include "log/run.h"
#include "relay/record.h"
#include "relay/relay_provider.h"

int			sn_idempotency_window = 86400;
int			sn_max_payload = 1024;
int			sn_max_batch = 100000;
int			sn_long_run = 16;

int			sn_lanes = SN_MAX_LANES;
int			sn_partition_interval = 1440;
int			sn_partitions_ahead = 3;
int			sn_retention = 43200;
int			sn_dead_letter_retention = 129600;
int			sn_journal_size = 65536;

int			sn_launcher_naptime = 10;
int			sn_maintenance_interval = 60;
int			sn_sequencer_naptime = 1000;
int			sn_round_interval = 20;
int			sn_sort_memory = 65536;

int			sn_relay_workers = 1;
int			sn_relay_start = SN_RELAY_EARLIEST;
int			sn_relay_inflight = 10000;
int			sn_relay_buffer = 32768;
int			sn_broker = SN_BROKER_KAFKA;
char	   *sn_kafka_conf = NULL;
char	   *sn_secret_directory = NULL;
char	   *sn_topic_template = NULL;
char	   *sn_control_topic = NULL;
int			sn_topic_partitions = 12;
int			sn_topic_replication = -1;
int			sn_record_format = SN_RECORD_CLOUDEVENTS;
int			sn_topic_timeout = 3 * 24 * 3600;
int			sn_record_timestamp = SN_TIME_SENDING;
int			sn_breaker_failures = 5;
int			sn_breaker_open_time = 60;
int			sn_sync_grace = 10;

static const struct config_enum_entry format_options[] = {
	{"cloudevents", SN_RECORD_CLOUDEVENTS, false},
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
check_topic_timeout(int *newval, void **extra, GucSource source)
{
	return warn_if_small("sentinai.topic_timeout", *newval, sn_topic_timeout,
						 LEAST_SECONDS, "seconds");
}

static void
define_publish_settings(void)
{
	DefineCustomIntVariable("sentinai.idempotency_window",
							"How long an idempotency key is remembered.",
							NULL,
							&sn_idempotency_window,
							86400, 1, 30 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							check_idempotency_window, NULL, NULL);
	DefineCustomIntVariable("sentinai.max_payload",
							"Largest payload that publish() takes.",
							NULL,
							&sn_max_payload,
							1024, 1, 262144,
							PGC_SIGHUP, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.max_batch",
							"Most events that one publish_batch() takes.",
							NULL,
							&sn_max_batch,
							100000, 1, 1000000,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.long_run",
							"Least number of events of one tenant in a batch that have no index entries for their keys.",
							"They are found by a list of their keys instead; 0 indexes every event.",
							&sn_long_run,
							16, 0, SN_RUN_MAX,
							PGC_USERSET, 0,
							NULL, NULL, NULL);
}

static void
define_storage_settings(void)
{
	DefineCustomIntVariable("sentinai.lanes",
							"Number of lanes of a database, fixed when it first publishes or subscribes.",
							NULL,
							&sn_lanes,
							SN_MAX_LANES, 1, SN_MAX_LANES,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.partition_interval",
							"Time span of one partition of the log.",
							NULL,
							&sn_partition_interval,
							1440, 1, 366 * 1440,
							PGC_SIGHUP, GUC_UNIT_MIN,
							check_partition_interval, NULL, NULL);
	DefineCustomIntVariable("sentinai.partitions_ahead",
							"Number of partitions made ahead of their time.",
							NULL,
							&sn_partitions_ahead,
							3, 1, 100,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.retention",
							"Age at which partitions are dropped once everybody has passed them; -1 keeps them.",
							NULL,
							&sn_retention,
							43200, -1, INT_MAX / 60,
							PGC_SIGHUP, GUC_UNIT_MIN,
							check_retention, NULL, NULL);
	DefineCustomIntVariable("sentinai.dead_letter_retention",
							"Age at which dead letters that were settled are removed; -1 keeps them.",
							NULL,
							&sn_dead_letter_retention,
							129600, -1, INT_MAX / 60,
							PGC_SIGHUP, GUC_UNIT_MIN,
							check_dead_letter_retention, NULL, NULL);
	DefineCustomIntVariable("sentinai.journal_size",
							"Size at which a half of a journal is carried over and truncated.",
							NULL,
							&sn_journal_size,
							65536, 64, INT_MAX / 1024,
							PGC_SIGHUP, GUC_UNIT_KB,
							NULL, NULL, NULL);
}

static void
define_worker_settings(void)
{
	DefineCustomIntVariable("sentinai.launcher_naptime",
							"How often the launcher looks for databases with the extension.",
							NULL,
							&sn_launcher_naptime,
							10, 1, 3600,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.maintenance_interval",
							"How often partitions and journals are looked after.",
							NULL,
							&sn_maintenance_interval,
							60, 1, 3600,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.sequencer_naptime",
							"Longest sleep of an idle sequencer.",
							NULL,
							&sn_sequencer_naptime,
							1000, 10, 60000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.round_interval",
							"Longest pause between rounds under load while somebody waits for events; 0 makes every round immediate.",
							NULL,
							&sn_round_interval,
							20, 0, 1000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.sort_memory",
							"Memory of the sequencer for sorting a round; larger rounds sort on disk.",
							NULL,
							&sn_sort_memory,
							65536, 64, 1048576,
							PGC_SIGHUP, GUC_UNIT_KB,
							NULL, NULL, NULL);
}

static void
define_relay_settings(void)
{
	static struct config_enum_entry broker_options[SN_BROKER_KINDS + 1];
	int			i;

	for (i = 0; i < SN_BROKER_KINDS; i++)
	{
		broker_options[i].name = sn_providers[i].name;
		broker_options[i].val = i;
	}
	DefineCustomEnumVariable("sentinai.broker",
							 "Kind of broker the relay produces to.",
							 NULL,
							 &sn_broker,
							 SN_BROKER_KAFKA, broker_options,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.relay_workers",
							"Number of relay processes in each database.",
							NULL,
							&sn_relay_workers,
							1, 0, 16,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomEnumVariable("sentinai.relay_start_from",
							 "Where the relay of a database begins when it runs for the first time.",
							 NULL,
							 &sn_relay_start,
							 SN_RELAY_EARLIEST, relay_start_options,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.relay_inflight",
							"Most events a relay has sent without an answer: the bound on duplicates after a crash.",
							NULL,
							&sn_relay_inflight,
							10000, 1, 100000,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.relay_buffer",
							"Most bytes a relay holds in records that are not answered.",
							NULL,
							&sn_relay_buffer,
							32768, 1024, 1048576,
							PGC_SIGHUP, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.breaker_failures",
							"Failures in a row after which the relay leaves the broker alone.",
							NULL,
							&sn_breaker_failures,
							5, 1, 1000,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.breaker_open_time",
							"How long the relay leaves a failing broker alone before it tries again.",
							NULL,
							&sn_breaker_open_time,
							60, 1, 3600,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.sync_grace",
							"How long the relay holds what no standby has confirmed after synchronous_standby_names has become empty.",
							NULL,
							&sn_sync_grace,
							10, 0, 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
}

/*
 * check_kafka_conf: syntax and what is refused; whether the client library
 * knows a property is found out by the relay, which has it
 */
static bool
check_kafka_conf(char **newval, void **extra, GucSource source)
{
	char		err[256];

	if (*newval == NULL || **newval == '\0' ||
		sn_providers[SN_BROKER_KAFKA].settings->check(*newval, err,
													  sizeof(err)))
		return true;
	/* the server would show the value, in which there may be a secret */
	GUC_check_errmsg("invalid value for parameter \"%s\"",
					 "sentinai.kafka_conf");
	GUC_check_errdetail("The value cannot be used: %s.", err);
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

static void
define_kafka_settings(void)
{
	const SnProvider *kafka = &sn_providers[SN_BROKER_KAFKA];

	DefineCustomStringVariable(kafka->setting, kafka->describes, NULL,
							   kafka->value,
							   "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   check_kafka_conf, NULL, NULL);
	/* not for ALTER SYSTEM: who may set kafka_conf says who gets the secrets */
	DefineCustomStringVariable("sentinai.secret_directory",
							   "Directory of the files with secrets that kafka_conf may name; only the server's own configuration file sets it.",
							   NULL,
							   &sn_secret_directory,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY | GUC_DISALLOW_IN_AUTO_FILE,
							   check_secret_directory, NULL, NULL);
	DefineCustomStringVariable("sentinai.topic_template",
							   "Topic of an event; {tenant}, {aggregate_type} and {event_type} are replaced.",
							   "Empty: sentinai.{aggregate_type}, or outbox.event.{aggregate_type} when the format is debezium.",
							   &sn_topic_template,
							   "",
							   PGC_SIGHUP, 0,
							   check_topic_template, NULL, NULL);
	DefineCustomStringVariable("sentinai.control_topic",
							   "Topic of the extension's own events about retries and dead letters; empty does not send them.",
							   NULL,
							   &sn_control_topic,
							   "",
							   PGC_SIGHUP, 0,
							   check_control_topic, NULL, NULL);
	DefineCustomIntVariable("sentinai.topic_partitions",
							"Partitions of a topic the relay creates; 0 leaves creation to the broker.",
							NULL,
							&sn_topic_partitions,
							12, 0, 10000,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.topic_replication",
							"Replication factor of a topic the relay creates; -1 is the broker's default.",
							NULL,
							&sn_topic_replication,
							-1, -1, 32,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sentinai.topic_timeout",
							"How long an event waits for a topic that cannot be written before it becomes a dead letter; -1 is for ever.",
							NULL,
							&sn_topic_timeout,
							3 * 24 * 3600, -1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							check_topic_timeout, NULL, NULL);
	DefineCustomEnumVariable("sentinai.record_format",
							 "Form of the records the relay produces.",
							 NULL,
							 &sn_record_format,
							 SN_RECORD_CLOUDEVENTS, format_options,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomEnumVariable("sentinai.record_timestamp",
							 "Timestamp of the records the relay produces.",
							 NULL,
							 &sn_record_timestamp,
							 SN_TIME_SENDING, timestamp_options,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
}

/* sn_guc_init: define all settings and reserve their prefix */
void
sn_guc_init(void)
{
	define_publish_settings();
	define_storage_settings();
	define_worker_settings();
	define_relay_settings();
	define_kafka_settings();
	MarkGUCPrefixReserved("sentinai");
}
