/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_outside.c
 *	  What records need done outside of the database, before they are handled.
 *
 * As with a batch that was claimed: the database says what there is to do
 * (prepare), it is done with no transaction open, and the results go with the
 * records into the transaction that handles them.  All parts that are due make
 * one batch here, so that none waits for another's calls.
 *
 * A result stays with its record until the database has it.  So a database
 * that is away in between makes nobody call twice.
 */
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "kafka_outside.h"

/* The records that are worked on, and the batch of their events. */
typedef struct Work
{
	Batch		batch;
	KafkaRecord **records;
} Work;

/* Makes the batch of the first records of all parts that are due. */
static bool
gather_records(const Group *group, Work *work)
{
	int			most = group->worker->agent->settings->max_events;
	size_t		room = 1;
	PgBatch		claimed = {0};
	int			i;
	int			j;

	for (i = 0; i < group->held.count; i++)
		room += (size_t) group->held.parts[i].count;
	work->records = calloc(room, sizeof(KafkaRecord *));
	claimed.events = calloc(room, sizeof(AgentEvent));
	for (i = 0; work->records != NULL && claimed.events != NULL &&
		 i < group->held.count; i++)
	{
		const Part *part = &group->held.parts[i];

		if (!part_is_due(part))
			continue;
		for (j = 0; j < part->count && j < most; j++)
		{
			work->records[claimed.count] = part->records[j];
			claimed.events[claimed.count++] = part->records[j]->event;
		}
	}
	return batch_init(&work->batch, &claimed,
					  group->worker->agent->definition->set_handler) &&
		work->records != NULL && work->batch.claimed.events != NULL;
}

/* Makes the JSON array of the records that are to be prepared. */
static bool
list_unprepared(const Work *work, Text *list)
{
	int			i;

	text_add(list, "[");
	for (i = 0; i < work->batch.claimed.count; i++)
	{
		if (work->records[i]->prepared)
			continue;
		if (list->length > 1)
			text_add(list, ",");
		kafka_record_add(list, work->records[i]);
	}
	text_add(list, "]");
	return !list->failed;
}

/* Gives the records what came of their tasks. */
static void
take_results(Work *work, PgTasks *tasks)
{
	Batch	   *batch = &work->batch;
	int			i;

	batch_record_tasks(batch, tasks);
	for (i = 0; i < batch->claimed.count; i++)
	{
		KafkaRecord *record = work->records[i];

		record->ready = batch->states[i] == EVENT_COMPLETED;
		record->prepared = record->prepared || record->ready;
		if (batch->results[i] == NULL)
			continue;
		free(record->result);
		record->result = batch->results[i];
		batch->results[i] = NULL;
	}
}

/* Called while calls are made: the group must not take us for dead. */
static void
keep_membership(Worker *worker)
{
	Group	   *group = worker->source;

	worker_moves(worker, 0);
	if (!group_take(group, 0))
		group->is_over = true;
	group_pause(group);
}

/* Asks the database what there is to do, and does it. */
static PgStatus
do_work(Group *group, Work *work)
{
	Worker	   *worker = group->worker;
	Text		list = {0};
	PgTasks		tasks = {0};
	PgStatus	status = !list_unprepared(work, &list) ? PG_LOST :
		list.length == 2 ? PG_DONE :
		pg_prepare(worker->conn, worker->agent->definition->set_handler,
				   list.data, true, &work->batch.claimed, &tasks);

	text_free(&list);
	if (status == PG_DONE && tasks.count > 0)
	{
		group_begin_work(group);
		worker->source = group;
		worker->keep = keep_membership;
		worker_call_outside(worker, &tasks);
		worker->keep = NULL;
	}
	if (status == PG_DONE)
		take_results(work, &tasks);
	pg_tasks_free(&tasks);
	return status;
}

/*
 * Does what the records that are due need done, and says which of them are
 * ready then.  If the database could not say what that is none is.
 */
PgStatus
outside_work(Group *group)
{
	Work		work = {0};
	PgStatus	status = gather_records(group, &work) ?
		do_work(group, &work) : PG_LOST;

	free(work.records);
	batch_free(&work.batch);
	return status;
}
