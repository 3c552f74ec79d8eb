/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_source.c
 *	  A worker thread that gets its events from Kafka.
 *
 * A thread is a member of the consumer group (kafka_group.c), with a connection
 * to the database of its own.  It takes what has come, does what that needs done
 * outside of the database (kafka_outside.c), and hands the records of each
 * partition, in their order, to sentinai_platform.handle_records(), which is
 * one transaction.  The offset is committed after it, so a crash in between
 * brings records again, and the ledger tells that they are done.
 *
 * The database says what has failed, and how long to wait then.  The partition
 * is paused until its records are through, at most five attempts later.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_group.h"
#include "kafka_outside.h"
#include "kafka_source.h"
#include "log.h"
#include "report.h"
#include "value.h"

/* Longest wait for a record, after which a stop is noticed. */
#define POLL_TIME 200

typedef struct Source
{
	Group		group;
	Worker	   *worker;
	int			failures;		/* of the database, in a row */
	long long	reconnect_at;
} Source;

/* Logs trouble with the database. */
static void
say_database(Source *source, const char *message)
{
	PgConn	   *conn = source->worker->conn;
	char		error[300];

	snprintf(error, sizeof(error), "%s: %s", pg_sqlstate(conn),
			 pg_message(conn));
	group_say(&source->group, message, error);
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

/* A call has failed, by no event's fault: when all come again; it counts no attempt. */
static long long
lose_call(Source *source, PgStatus status, const char *message)
{
	Worker	   *worker = source->worker;

	atomic_store(&worker->link, status != PG_LOST ? LINK_REFUSED :
				 pg_is_read_only(worker->conn) ? LINK_STANDBY : LINK_DOWN);
	say_database(source, message);
	return clock_ms() + database_delay(source);
}

/* The database has handled records of a part. */
static void
take_answer(Source *source, Part *part, const PgRecords *answer)
{
	Worker	   *worker = source->worker;
	int			i;

	source->failures = 0;
	report_count(worker, COUNT_BATCHES, 1);
	report_count(worker, COUNT_COMPLETED, answer->handled);
	report_count(worker, COUNT_DEAD, answer->dead);
	if (answer->dead > 0)
		log_line(LOG_WARNING, "events became dead letters",
				 LOG_N("worker", worker->number),
				 LOG_N("events", answer->dead), LOG_END);
	for (i = 0; i < part->count; i++)
		if (part->records[i]->handed &&
			offset_is_listed(answer->poison, part->records[i]->offset))
			group_note_unreadable(&source->group, part,
								  part->records[i]->offset);
	report_count(worker, COUNT_RETRIED, part_settle(part, answer));
}

/* Hands those records of a part to the database that are ready. */
static void
handle_part(Source *source, Part *part)
{
	Worker	   *worker = source->worker;
	Agent	   *agent = worker->agent;
	Text		list = {0};
	int			count = part_list(part, agent->settings->max_events,
								  agent->definition->outside == NULL, &list);
	PgRecords	records = {
		.handler = agent->definition->set_handler,.topic = part->topic,
		.partition = part->number,.records = list.data
	};
	long long	start = clock_us();
	PgStatus	status;

	if (count > 0 || list.failed)
	{
		status = list.failed ? PG_LOST :
			pg_handle_records(worker->conn, &records);
		histogram_observe(&agent->handle_time, clock_us() - start);
		if (status == PG_DONE)
			take_answer(source, part, &records);
		else
			part->due = lose_call(source, status, "could not handle records");
		pg_records_free(&records);
	}
	else					/* came while others were worked on */
		part->due = clock_ms() + POLL_TIME;
	text_free(&list);
}

/* Does outside of the database what records that are due need done. */
static void
work_outside_for_parts(Source *source)
{
	Group	   *group = &source->group;
	PgStatus	status;
	long long	due;
	int			i;

	group_pause(group);
	status = outside_work(group);
	if (status == PG_DONE)
		return;
	due = lose_call(source, status, "could not prepare records");
	for (i = 0; i < group->held.count; i++)
		if (part_is_due(&group->held.parts[i]))
			group->held.parts[i].due = due;
}

/* Has any part something that may be handled now? */
static bool
is_due(const Source *source)
{
	int			i;

	for (i = 0; i < source->group.held.count; i++)
		if (part_is_due(&source->group.held.parts[i]))
			return true;
	return false;
}

/* Handles what is due, of all parts. */
static void
handle_parts(Source *source)
{
	Worker	   *worker = source->worker;
	Parts	   *held = &source->group.held;
	bool		connected = ensure_database(source);
	int			i;

	if (connected && worker->agent->definition->outside != NULL &&
		is_due(source))
		work_outside_for_parts(source);
	for (i = 0; i < held->count; i++)
		if (pg_is_connected(worker->conn) && part_is_due(&held->parts[i]) &&
			stop_level(&worker->agent->stop) != STOP_NOW)
			handle_part(source, &held->parts[i]);
	group_pause(&source->group);
	if (!pg_is_connected(worker->conn))
		atomic_store(&worker->link, LINK_DOWN);
	else if (source->failures == 0)
		atomic_store(&worker->link, group_is_member(&source->group) ?
					 LINK_UP : LINK_DOWN);
}

/* Time until something is due, but short enough to notice a stop. */
static long long
time_to_wait(const Source *source)
{
	const Parts *held = &source->group.held;
	long long	wait = POLL_TIME;
	int			i;

	for (i = 0; i < held->count; i++)
	{
		long long	left = held->parts[i].due - clock_ms();

		if (held->parts[i].count > 0 && left < wait)
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
	Group	   *group = &source->group;
	int			none = 0;

	pg_set_interrupt(worker->conn, stop_fd(&agent->stop, STOP_NOW), STOP_GRACE);
	while (stop_level(&agent->stop) == STOP_NOT)
	{
		worker_moves(worker, 0);
		if (!group_take(group, time_to_wait(source)) || group->is_over)
		{
			atomic_compare_exchange_strong(&agent->status, &none,
										   EXIT_UNAVAILABLE);
			return;
		}
		handle_parts(source);
		group_commit(group, false);
		group_end_work(group);
		group_check_brokers(group);
	}
}

/* The thread: joins the group, works, and leaves it. */
static void *
source_main(void *arg)
{
	Worker	   *worker = arg;
	const AgentDefinition *definition = worker->agent->definition;
	const KafkaSettings *settings = definition->settings;
	Source		source = {.worker = worker,.group = {.worker = worker}};
	char		error[512];
	int			none = 0;

	source.group.consumer = kafka_open(settings, definition->set_handler,
									   &group_calls, &source.group, error,
									   sizeof(error));
	if (source.group.consumer != NULL &&
		kafka_subscribe(source.group.consumer, settings))
	{
		run_source(&source);
		group_leave(&source.group);
	}
	else
	{
		const char *reason = source.group.consumer == NULL ? error :
			"no usable name in --topics";

		log_line(LOG_ERROR, "could not make a consumer",
				 LOG_S("error", reason), LOG_END);
		atomic_compare_exchange_strong(&worker->agent->status, &none,
									   EXIT_CONFIG);
	}
	if (source.group.consumer != NULL)
		rd_kafka_destroy(source.group.consumer);
	worker_end(worker);
	return NULL;
}

/* Can these settings be used?  Says why not. */
static bool
check_settings(const struct Settings *settings,
			   const AgentDefinition *definition, char *error, size_t size)
{
	rd_kafka_t *consumer;

	if (settings->once || settings->until_empty)
	{
		snprintf(error, size, "--once and --until-empty are for "
				 "--source database");
		return false;
	}
	consumer = kafka_open(definition->settings, definition->set_handler,
						  &group_calls, NULL, error, size);
	if (consumer != NULL)
		rd_kafka_destroy(consumer);
	return consumer != NULL;
}

/* The source of an agent's events that its settings name; NULL: claim(). */
const AgentSource *
kafka_source(const void *settings)
{
	static const AgentSource source = {check_settings, source_main};

	return ((const KafkaSettings *) settings)->source == SOURCE_KAFKA ?
		&source : NULL;
}
