/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_source.c
 *	  A worker thread that gets its events from Kafka.
 *
 * A thread is a member of the consumer group, with a connection to the
 * database of its own.  It takes what has come, and hands the records of each
 * partition, in their order, to sentinai_platform.handle_records(), which is
 * one transaction.  The offset is committed after it, so a crash in between
 * brings records again, and the ledger tells that they are done.
 *
 * What has failed stays with its partition, and so does what comes behind it
 * with the same key; all else of the batch is done.  The partition is paused
 * until they are through, at most five attempts later.  A partition's place is
 * never beyond a record that is not done.
 *
 * rd_kafka_consumer_poll() is called all the while, also while the database is
 * away, or the group would take the member for dead.  Partitions come and go
 * only within that call: what the thread has of one that goes is forgotten.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_record.h"
#include "kafka_source.h"
#include "log.h"
#include "pg.h"
#include "report.h"
#include "value.h"
#include "worker.h"

/* Longest wait for a record, after which a stop is noticed. */
#define POLL_TIME 200

/* Attempts of an event, and the time before the second; it doubles. */
#define MAX_ATTEMPTS 5
#define FIRST_BACKOFF (1 * SECOND)

/* The same trouble gets a line so often. */
#define SAY_AGAIN (30 * SECOND)

/* How often it is asked whether brokers are back, and how long that takes. */
#define BROKER_CHECK (2 * SECOND)
#define BROKER_WAIT 500

/* Time for an answer of the database once it is time to end. */
#define STOP_GRACE (2 * SECOND)

/* A partition that the group has given to this thread. */
typedef struct Part
{
	char	   *topic;
	int32_t		number;
	KafkaRecord *records;		/* in order; not done yet */
	int			count;
	int			size;
	int64_t		next;			/* offset behind all that came, or -1 */
	int64_t		committed;		/* the place that Kafka was told, or -1 */
	long long	due;			/* when the records may be handled */
	bool		paused;
} Part;

typedef struct Source
{
	Worker	   *worker;
	rd_kafka_t *consumer;
	Part	   *parts;
	int			count;
	int			failures;		/* of the database, in a row */
	long long	reconnect_at;
	bool		no_brokers;
	long long	check_brokers_at;
	long long	say_again;
} Source;

KafkaSettings kafka_settings;

/* Logs trouble, the second time in a row only now and then. */
static void
say_trouble(Source *source, const char *message, const char *error)
{
	long long	now = clock_ms();

	log_line(now < source->say_again ? LOG_DEBUG : LOG_WARNING, message,
			 LOG_N("worker", source->worker->number), LOG_S("error", error),
			 LOG_END);
	source->say_again = now + SAY_AGAIN;
}

/* The same of the database. */
static void
say_database(Source *source, const char *message)
{
	PgConn	   *conn = source->worker->conn;
	char		error[300];

	snprintf(error, sizeof(error), "%s: %s", pg_sqlstate(conn),
			 pg_message(conn));
	say_trouble(source, message, error);
}

/* A part's place: the first record that is not done. */
static int64_t
place_of(const Part *part)
{
	return part->count > 0 ? part->records[0].offset : part->next;
}

/* The part of a partition, or NULL. */
static Part *
find_part(const Source *source, const char *topic, int32_t number)
{
	int			i;

	for (i = 0; i < source->count; i++)
		if (source->parts[i].number == number &&
			strcmp(source->parts[i].topic, topic) == 0)
			return &source->parts[i];
	return NULL;
}

/* Takes a partition that the group gives. */
static void
add_part(Source *source, const char *topic, int32_t number)
{
	Part	   *parts = realloc(source->parts,
								((size_t) source->count + 1) * sizeof(Part));
	Part	   *part;

	if (parts == NULL)
		return;
	source->parts = parts;
	part = &parts[source->count];
	*part = (Part) {.topic = strdup(topic),.number = number,.next = -1,
		.committed = -1};
	if (part->topic != NULL)
		source->count++;
}

/* Forgets a partition, with what is not done of it. */
static void
drop_part(Source *source, Part *part)
{
	int			i;

	report_count(source->worker, COUNT_DROPPED, part->count);
	for (i = 0; i < part->count; i++)
		kafka_record_free(&part->records[i]);
	free(part->records);
	free(part->topic);
	*part = source->parts[--source->count];
}

/* Tells Kafka the places of all parts that have moved. */
static void
commit_places(Source *source, bool wait)
{
	rd_kafka_topic_partition_list_t *places =
		rd_kafka_topic_partition_list_new(source->count + 1);
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
	int			i;

	for (i = 0; i < source->count; i++)
	{
		Part	   *part = &source->parts[i];

		if (place_of(part) == part->committed || place_of(part) < 0)
			continue;
		rd_kafka_topic_partition_list_add(places, part->topic,
										  part->number)->offset = place_of(part);
		part->committed = place_of(part);
	}
	if (places->cnt > 0)
		error = rd_kafka_commit(source->consumer, places, !wait);
	rd_kafka_topic_partition_list_destroy(places);
	/* records come again then, and the ledger knows them */
	if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
		say_trouble(source, "could not commit offsets",
					rd_kafka_err2name(error));
}

/* The group gives partitions, or takes them. */
static void
rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t what,
		  rd_kafka_topic_partition_list_t *partitions, void *arg)
{
	Source	   *source = arg;
	bool		gives = what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
	bool		is_cooperative =
		strcmp(rd_kafka_rebalance_protocol(consumer), "COOPERATIVE") == 0;
	int			i;

	if (!gives && !rd_kafka_assignment_lost(consumer))
		commit_places(source, true);
	for (i = 0; i < partitions->cnt; i++)
	{
		const char *topic = partitions->elems[i].topic;
		int32_t		number = partitions->elems[i].partition;
		Part	   *part = find_part(source, topic, number);

		if (part != NULL)
			drop_part(source, part);
		if (gives)
			add_part(source, topic, number);
	}
	if (is_cooperative)
		rd_kafka_error_destroy(gives ?
							   rd_kafka_incremental_assign(consumer, partitions) :
							   rd_kafka_incremental_unassign(consumer, partitions));
	else
		rd_kafka_assign(consumer, gives ? partitions : NULL);
	log_line(LOG_INFO, gives ? "partitions assigned" : "partitions revoked",
			 LOG_N("worker", source->worker->number),
			 LOG_N("partitions", partitions->cnt),
			 LOG_N("held", source->count), LOG_END);
}

/* librdkafka has trouble with brokers. */
static void
note_trouble(rd_kafka_t *consumer, int error, const char *reason, void *arg)
{
	Source	   *source = arg;

	(void) consumer;
	(void) reason;
	if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		source->no_brokers = true;
	say_trouble(source, "trouble with Kafka",
				rd_kafka_err2name((rd_kafka_resp_err_t) error));
}

/* Asks now and then whether brokers are back. */
static void
check_brokers(Source *source)
{
	const struct rd_kafka_metadata *metadata;

	if (!source->no_brokers || clock_ms() < source->check_brokers_at)
		return;
	source->check_brokers_at = clock_ms() + BROKER_CHECK;
	if (rd_kafka_metadata(source->consumer, 0, NULL, &metadata, BROKER_WAIT) !=
		RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	rd_kafka_metadata_destroy(metadata);
	source->no_brokers = false;
}

/* Is the thread a member of its group? */
static bool
is_member(const Source *source)
{
	char	   *id = rd_kafka_memberid(source->consumer);
	bool		is = id != NULL && *id != '\0' && !source->no_brokers;

	if (id != NULL)
		rd_kafka_mem_free(source->consumer, id);
	return is;
}

/* Stops or begins to fetch a partition. */
static void
pause_part(Source *source, Part *part, bool paused)
{
	rd_kafka_topic_partition_list_t *list;

	if (part->paused == paused)
		return;
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, part->topic, part->number);
	if (paused)
		rd_kafka_pause_partitions(source->consumer, list);
	else
		rd_kafka_resume_partitions(source->consumer, list);
	rd_kafka_topic_partition_list_destroy(list);
	part->paused = paused;
}

/* Says where a record is that is none of ours. */
static void
note_unreadable(Source *source, const Part *part, long long offset)
{
	report_count(source->worker, COUNT_UNREADABLE, 1);
	log_line(LOG_WARNING, "a record is no event of ours, and is passed",
			 LOG_S("topic", part->topic), LOG_N("partition", part->number),
			 LOG_N("offset", offset), LOG_END);
}

/* Makes room for one more record. */
static bool
reserve_record(Part *part)
{
	int			size = part->size > 0 ? part->size * 2 : 64;
	KafkaRecord *records;

	if (part->count < part->size)
		return true;
	records = realloc(part->records, (size_t) size * sizeof(KafkaRecord));
	if (records == NULL)
		return false;
	part->records = records;
	part->size = size;
	return true;
}

/* Keeps a record for its part; false when there is no memory. */
static bool
keep_record(Source *source, rd_kafka_message_t *message)
{
	Part	   *part = find_part(source, rd_kafka_topic_name(message->rkt),
								 message->partition);
	KafkaRecord record;

	/* what is behind, or of a partition that has gone, is not ours to handle */
	if (part == NULL || message->offset < part->next)
		return true;
	report_count(source->worker, COUNT_CLAIMED, 1);
	if (!kafka_record_read(&record, message))
		note_unreadable(source, part, message->offset);
	else if (record.members == NULL || !reserve_record(part))
	{
		kafka_record_free(&record);
		return false;
	}
	else
		part->records[part->count++] = record;
	part->next = message->offset + 1;
	return true;
}

/* Waits for records, and takes what has come; false: the thread has to end. */
static bool
take_records(Source *source, long long wait)
{
	Worker	   *worker = source->worker;
	int			left = worker->agent->settings->max_events;
	bool		done = true;
	char		reason[256];

	for (; done && left > 0; left--, wait = 0)
	{
		rd_kafka_message_t *message =
			rd_kafka_consumer_poll(source->consumer, (int) wait);

		if (message == NULL)
			break;
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			done = keep_record(source, message);
		else
			say_trouble(source, "could not get records",
						rd_kafka_err2name(message->err));
		rd_kafka_message_destroy(message);
	}
	if (!done)
		log_line(LOG_ERROR, "out of memory", LOG_END);
	else if (rd_kafka_fatal_error(source->consumer, reason, sizeof(reason)) !=
			 RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		log_line(LOG_ERROR, "the group does not take this member any more",
				 LOG_N("worker", worker->number), LOG_END);
		done = false;
	}
	return done;
}

/* Delay after the database's failures: exponential. */
static long long
database_delay(Source *source)
{
	const Settings *settings = source->worker->agent->settings;
	long long	delay = settings->reconnect_min;
	int			i;

	for (i = 0; i < source->failures && delay < settings->reconnect_max; i++)
		delay *= 2;
	source->failures++;
	return delay < settings->reconnect_max ? delay : settings->reconnect_max;
}

/* Connects to the database if it is time to. */
static bool
ensure_database(Source *source)
{
	Worker	   *worker = source->worker;
	bool		connected;

	if (pg_is_connected(worker->conn))
		return true;
	if (clock_ms() < source->reconnect_at)
		return false;
	atomic_store(&worker->connecting, CONNECTING);
	connected = pg_connect(worker->conn);
	atomic_store(&worker->connecting, NOT_CONNECTING);
	if (!connected)
	{
		say_database(source, "could not connect");
		source->reconnect_at = clock_ms() + database_delay(source);
		return false;
	}
	if (worker->was_connected)
		report_count(worker, COUNT_RECONNECTS, 1);
	worker->was_connected = true;
	return true;
}

/* The JSON array of a part's first records, and how many. */
static int
list_records(const Source *source, const Part *part, Text *list)
{
	int			most = source->worker->agent->settings->max_events;
	int			i;

	text_add(list, "[");
	for (i = 0; i < part->count && i < most; i++)
	{
		if (i > 0)
			text_add(list, ",");
		kafka_record_add(list, &part->records[i]);
	}
	text_add(list, "]");
	return i;
}

/* Is an offset in an array of the server's, such as "{7,12}"? */
static bool
is_listed(const char *array, int64_t offset)
{
	char	   *end = (char *) array;

	while (*end != '\0')
	{
		if ((*end < '0' || *end > '9') && *end != '-')
			end++;
		else if (strtoll(end, &end, 10) == offset)
			return true;
	}
	return false;
}

/* Keeps of the records that were handled those that shall come again. */
static void
keep_undone(Source *source, Part *part, int handled, const PgRecords *answer)
{
	long long	delay = 0;
	int			kept = 0;
	int			failed = 0;
	int			i;

	for (i = 0; i < part->count; i++)
	{
		KafkaRecord *record = &part->records[i];
		bool		has_failed = i < handled &&
			is_listed(answer->failed, record->offset);

		if (i < handled && is_listed(answer->poison, record->offset))
			note_unreadable(source, part, record->offset);
		if (i < handled && !has_failed &&
			!is_listed(answer->waiting, record->offset))
		{
			kafka_record_free(record);
			continue;
		}
		if (has_failed)
		{
			failed++;
			if (delay < FIRST_BACKOFF << (record->attempt - 1))
				delay = FIRST_BACKOFF << (record->attempt - 1);
			record->attempt++;
		}
		part->records[kept++] = *record;
	}
	part->count = kept;
	part->due = clock_ms() + delay;
	report_count(source->worker, COUNT_RETRIED, failed);
}

/* The database has handled records of a part. */
static void
take_answer(Source *source, Part *part, int count, const PgRecords *answer)
{
	Worker	   *worker = source->worker;

	source->failures = 0;
	report_count(worker, COUNT_BATCHES, 1);
	report_count(worker, COUNT_COMPLETED, answer->handled);
	report_count(worker, COUNT_DEAD, answer->dead);
	if (answer->dead > 0)
		log_line(LOG_WARNING, "events became dead letters",
				 LOG_N("worker", worker->number),
				 LOG_N("events", answer->dead), LOG_END);
	keep_undone(source, part, count, answer);
}

/* Hands records of a part to the database. */
static void
handle_part(Source *source, Part *part)
{
	Worker	   *worker = source->worker;
	Agent	   *agent = worker->agent;
	Text		list = {0};
	int			count = list_records(source, part, &list);
	PgRecords	records = {
		.handler = agent->definition->set_handler,.topic = part->topic,
		.partition = part->number,.records = list.data,
		.max_attempts = MAX_ATTEMPTS
	};
	long long	start = clock_us();
	PgStatus	status = list.failed ? PG_LOST :
		pg_handle_records(worker->conn, &records);

	text_free(&list);
	histogram_observe(&agent->handle_time, clock_us() - start);
	if (status == PG_DONE)
		take_answer(source, part, count, &records);
	else
	{
		/* no event's fault: all come again, and no attempt counts */
		atomic_store(&worker->link, status != PG_LOST ? LINK_REFUSED :
					 pg_is_read_only(worker->conn) ? LINK_STANDBY : LINK_DOWN);
		say_database(source, "could not handle records");
		part->due = clock_ms() + database_delay(source);
	}
	pg_records_free(&records);
}

/* Handles what is due, of all parts. */
static void
handle_parts(Source *source)
{
	Worker	   *worker = source->worker;
	bool		connected = ensure_database(source);
	int			i;

	for (i = 0; i < source->count; i++)
	{
		Part	   *part = &source->parts[i];

		if (connected && part->count > 0 && part->due <= clock_ms() &&
			stop_level(&worker->agent->stop) != STOP_NOW)
			handle_part(source, part);
		connected = pg_is_connected(worker->conn);
		pause_part(source, part, part->count > 0);
	}
	if (!connected)
		atomic_store(&worker->link, LINK_DOWN);
	else if (source->failures == 0)
		atomic_store(&worker->link, is_member(source) ? LINK_UP : LINK_DOWN);
}

/* Time until something is due, but short enough to notice a stop. */
static long long
time_to_wait(const Source *source)
{
	long long	wait = POLL_TIME;
	int			i;

	for (i = 0; i < source->count; i++)
	{
		const Part *part = &source->parts[i];
		long long	left = part->due - clock_ms();

		if (part->count > 0 && left < wait)
			wait = left > 0 ? left : 0;
	}
	return pg_is_connected(source->worker->conn) ? wait : POLL_TIME;
}

/* Works until it is time to end. */
static void
run_source(Source *source)
{
	Worker	   *worker = source->worker;
	Agent	   *agent = worker->agent;
	int			none = 0;

	pg_set_interrupt(worker->conn, stop_fd(&agent->stop, STOP_NOW), STOP_GRACE);
	while (stop_level(&agent->stop) == STOP_NOT)
	{
		worker_moves(worker, 0);
		if (!take_records(source, time_to_wait(source)))
		{
			atomic_compare_exchange_strong(&agent->status, &none,
										   EXIT_UNAVAILABLE);
			return;
		}
		handle_parts(source);
		commit_places(source, false);
		check_brokers(source);
	}
}

/* Forgets all parts, when the group has been left. */
static void
drop_parts(Source *source)
{
	while (source->count > 0)
		drop_part(source, &source->parts[source->count - 1]);
	free(source->parts);
}

/* The thread: joins the group, works, and leaves it. */
static void *
source_main(void *arg)
{
	static const KafkaCalls calls = {rebalance, note_trouble};
	Worker	   *worker = arg;
	Source		source = {.worker = worker};
	char		error[512];
	const char *reason = error;
	int			none = 0;

	source.consumer = kafka_open(&kafka_settings,
								 worker->agent->definition->set_handler,
								 &calls, &source, error, sizeof(error));
	if (source.consumer != NULL &&
		kafka_subscribe(source.consumer, &kafka_settings))
	{
		run_source(&source);
		commit_places(&source, true);
		rd_kafka_consumer_close(source.consumer);
	}
	else
	{
		log_line(LOG_ERROR, "could not make a consumer",
				 LOG_S("error", source.consumer == NULL ? reason :
					   "no usable name in --topics"), LOG_END);
		atomic_compare_exchange_strong(&worker->agent->status, &none,
									   EXIT_CONFIG);
	}
	if (source.consumer != NULL)
		rd_kafka_destroy(source.consumer);
	drop_parts(&source);
	worker_end(worker);
	return NULL;
}

/* Can these settings be used?  Says why not. */
static bool
check_settings(const struct Settings *settings, const char *agent, char *error,
			   size_t size)
{
	static const KafkaCalls calls = {rebalance, note_trouble};
	rd_kafka_t *consumer;

	if (settings->once || settings->until_empty)
	{
		snprintf(error, size, "--once and --until-empty are for "
				 "--source database");
		return false;
	}
	consumer = kafka_open(&kafka_settings, agent, &calls, NULL, error, size);
	if (consumer != NULL)
		rd_kafka_destroy(consumer);
	return consumer != NULL;
}

/* The source of an agent's events that the settings name; NULL: claim(). */
const AgentSource *
kafka_source(void)
{
	static const AgentSource source = {check_settings, source_main};

	return kafka_settings.source == SOURCE_KAFKA ? &source : NULL;
}
