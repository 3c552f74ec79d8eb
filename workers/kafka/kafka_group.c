/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_group.c
 *	  A thread as member of a consumer group: what it is given, what it has to
 *	  give back, and the places that Kafka is told.
 *
 * rd_kafka_consumer_poll() is called all the while, also while the database is
 * away or calls are made, or the group would take the member for dead.
 * Partitions come and go only within that call.  What the thread has of one
 * that goes is forgotten.  While its records are worked on outside of the
 * database it stays, and the group has to wait: what would be forgotten then
 * would be done twice.
 */
#include <stdlib.h>
#include <string.h>

#include "kafka_group.h"
#include "log.h"
#include "report.h"
#include "value.h"

/* How often it is asked whether brokers are back, and how long that takes. */
#define BROKER_CHECK (2 * SECOND)
#define BROKER_WAIT 500

/* Logs trouble, the second time in a row only now and then. */
void
group_say(Group *group, const char *message, const char *error)
{
	long long	now = clock_ms();

	log_line(now < group->say_again ? LOG_DEBUG : LOG_WARNING, message,
			 LOG_N("worker", group->worker->number), LOG_S("error", error),
			 LOG_END);
	group->say_again = now + SAY_AGAIN;
}

/* Tells Kafka the places of all parts that have moved. */
void
group_commit(Group *group, bool wait)
{
	rd_kafka_topic_partition_list_t *places =
		rd_kafka_topic_partition_list_new(group->held.count + 1);
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
	int			i;

	for (i = 0; i < group->held.count; i++)
	{
		Part	   *part = &group->held.parts[i];
		int64_t		place = part_place(part);

		if (place == part->committed || place < 0)
			continue;
		rd_kafka_topic_partition_list_add(places, part->topic,
										  part->number)->offset = place;
		part->committed = place;
	}
	if (places->cnt > 0)
		error = rd_kafka_commit(group->consumer, places, !wait);
	rd_kafka_topic_partition_list_destroy(places);
	/* records come again then, and the ledger knows them */
	if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
		group_say(group, "could not commit offsets", rd_kafka_err2name(error));
}

/* Forgets a part, with what is not done of it. */
static void
drop_part(Group *group, Part *part)
{
	report_count(group->worker, COUNT_DROPPED, parts_drop(&group->held, part));
}

/* Takes partitions, or lets them go; each begins anew. */
static void
change_parts(Group *group, const rd_kafka_topic_partition_list_t *partitions,
			 bool gives)
{
	bool		is_cooperative =
		strcmp(rd_kafka_rebalance_protocol(group->consumer), "COOPERATIVE") == 0;
	int			i;

	for (i = 0; i < partitions->cnt; i++)
	{
		const char *topic = partitions->elems[i].topic;
		int32_t		number = partitions->elems[i].partition;
		Part	   *part = parts_find(&group->held, topic, number);

		if (part != NULL)
			drop_part(group, part);
		if (gives && !parts_add(&group->held, topic, number))
			log_line(LOG_ERROR, "out of memory", LOG_END);
	}
	if (is_cooperative)
		rd_kafka_error_destroy(gives ?
							   rd_kafka_incremental_assign(group->consumer, partitions) :
							   rd_kafka_incremental_unassign(group->consumer, partitions));
	else
		rd_kafka_assign(group->consumer, gives ? partitions : NULL);
	log_line(LOG_INFO, gives ? "partitions assigned" : "partitions revoked",
			 LOG_N("worker", group->worker->number),
			 LOG_N("partitions", partitions->cnt),
			 LOG_N("held", group->held.count), LOG_END);
}

/* Gives partitions back. */
static void
revoke_parts(Group *group, const rd_kafka_topic_partition_list_t *partitions)
{
	if (!rd_kafka_assignment_lost(group->consumer))
		group_commit(group, true);
	change_parts(group, partitions, false);
}

/* The group gives partitions, or takes them. */
static void
rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t what,
		  rd_kafka_topic_partition_list_t *partitions, void *arg)
{
	Group	   *group = arg;

	(void) consumer;
	if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
		change_parts(group, partitions, true);
	else if (group->is_busy && group->leaving == NULL)
		group->leaving = rd_kafka_topic_partition_list_copy(partitions);
	else
		revoke_parts(group, partitions);
}

/* From now on no partition goes away. */
void
group_begin_work(Group *group)
{
	group->is_busy = true;
}

/* Partitions may go again, and those that were asked for do. */
static void
let_go(Group *group)
{
	group->is_busy = false;
	if (group->leaving == NULL)
		return;
	revoke_parts(group, group->leaving);
	rd_kafka_topic_partition_list_destroy(group->leaving);
	group->leaving = NULL;
}

/* Has anything been done that the database does not know yet? */
static bool
has_results(const Group *group)
{
	int			i;

	for (i = 0; i < group->held.count; i++)
		if (part_has_result(&group->held.parts[i]))
			return true;
	return false;
}

/*
 * Partitions that were asked for meanwhile go, once the database has all results,
 * or when the group does not wait any more.
 */
void
group_end_work(Group *group)
{
	if (has_results(group) && !rd_kafka_assignment_lost(group->consumer))
		return;
	let_go(group);
}

/* librdkafka has trouble with brokers. */
static void
note_trouble(rd_kafka_t *consumer, int error, const char *reason, void *arg)
{
	Group	   *group = arg;

	(void) consumer;
	(void) reason;
	if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		group->no_brokers = true;
	group_say(group, "trouble with Kafka",
			  rd_kafka_err2name((rd_kafka_resp_err_t) error));
}

const KafkaCalls group_calls = {rebalance, note_trouble};

/* Asks now and then whether brokers are back. */
void
group_check_brokers(Group *group)
{
	const struct rd_kafka_metadata *metadata;

	if (!group->no_brokers || clock_ms() < group->check_brokers_at)
		return;
	group->check_brokers_at = clock_ms() + BROKER_CHECK;
	if (rd_kafka_metadata(group->consumer, 0, NULL, &metadata, BROKER_WAIT) !=
		RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	rd_kafka_metadata_destroy(metadata);
	group->no_brokers = false;
}

/* Is the thread a member of its group? */
bool
group_is_member(const Group *group)
{
	char	   *id = rd_kafka_memberid(group->consumer);
	bool		is = id != NULL && *id != '\0' && !group->no_brokers;

	if (id != NULL)
		rd_kafka_mem_free(group->consumer, id);
	return is;
}

/* Stops or begins to fetch a partition. */
static void
pause_part(Group *group, Part *part, bool paused)
{
	rd_kafka_topic_partition_list_t *list;

	if (part->paused == paused)
		return;
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, part->topic, part->number);
	if (paused)
		rd_kafka_pause_partitions(group->consumer, list);
	else
		rd_kafka_resume_partitions(group->consumer, list);
	rd_kafka_topic_partition_list_destroy(list);
	part->paused = paused;
}

/* Fetches partitions of which all is done, and no others. */
void
group_pause(Group *group)
{
	int			i;

	for (i = 0; i < group->held.count; i++)
		pause_part(group, &group->held.parts[i],
				   group->held.parts[i].count > 0);
}

/* Says where a record is that is none of ours. */
void
group_note_unreadable(Group *group, const Part *part, long long offset)
{
	report_count(group->worker, COUNT_UNREADABLE, 1);
	log_line(LOG_WARNING, "a record is no event of ours, and is passed",
			 LOG_S("topic", part->topic), LOG_N("partition", part->number),
			 LOG_N("offset", offset), LOG_END);
}

/* Keeps a record for its part; false when there is no memory. */
static bool
keep_record(Group *group, rd_kafka_message_t *message)
{
	Part	   *part = parts_find(&group->held, rd_kafka_topic_name(message->rkt),
								  message->partition);
	KafkaRecord *record;

	/* what is behind, or of a partition that has gone, is not ours to handle */
	if (part == NULL || message->offset < part->next)
		return true;
	report_count(group->worker, COUNT_CLAIMED, 1);
	if (!kafka_record_read(&record, message))
		group_note_unreadable(group, part, message->offset);
	else if (record == NULL || !part_keep(part, record))
	{
		kafka_record_free(record);
		return false;
	}
	part->next = message->offset + 1;
	return true;
}

/* Waits for records, and takes what has come; false: the thread has to end. */
bool
group_take(Group *group, long long wait)
{
	Worker	   *worker = group->worker;
	int			left = worker->agent->settings->max_events;
	bool		done = true;
	char		reason[256];

	for (; done && left > 0; left--, wait = 0)
	{
		rd_kafka_message_t *message =
			rd_kafka_consumer_poll(group->consumer, (int) wait);

		if (message == NULL)
			break;
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			done = keep_record(group, message);
		else
			group_say(group, "could not get records",
					  rd_kafka_err2name(message->err));
		rd_kafka_message_destroy(message);
	}
	if (!done)
		log_line(LOG_ERROR, "out of memory", LOG_END);
	else if (rd_kafka_fatal_error(group->consumer, reason, sizeof(reason)) !=
			 RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		log_line(LOG_ERROR, "the group does not take this member any more",
				 LOG_N("worker", worker->number), LOG_END);
		done = false;
	}
	return done;
}

/* Leaves the group, and forgets all parts. */
void
group_leave(Group *group)
{
	let_go(group);
	group_commit(group, true);
	rd_kafka_consumer_close(group->consumer);
	while (group->held.count > 0)
		drop_part(group, &group->held.parts[group->held.count - 1]);
	free(group->held.parts);
}
