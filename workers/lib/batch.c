/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * batch.c
 *	  The outcomes of the events of one batch.
 *
 * Once an event of a key has not been completed, the later events of that
 * key are not handled: a failure parks them behind it, and whatever stays in
 * the batch is given back by a release.  So the batch is completed as a
 * whole only when every event was; otherwise by the list of those that were.
 *
 * Outcomes may be reported in several turns; a turn that failed is filled
 * again with the same ones.  When the answer to a turn was lost, the server
 * may know its outcomes or not: then they are reported one by one, since it
 * refuses a failure that it knows, and with it whatever comes with it.
 */
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "event.h"

/*
 * Takes over a claimed batch.  For a set handler there is nothing to do here:
 * telling the server that all is done is what makes it do it.
 */
bool
batch_init(Batch *batch, PgBatch *claimed, const char *set_handler)
{
	size_t		count = (size_t) claimed->count;

	memset(batch, 0, sizeof(*batch));
	batch->claimed = *claimed;
	memset(claimed, 0, sizeof(*claimed));
	batch->open_count = batch->claimed.count;
	batch->states = calloc(count + 1, sizeof(EventState));
	batch->failures = calloc(count + 1, sizeof(PgFailure));
	batch->stopped = calloc(count + 1, sizeof(int));
	batch->results = calloc(count + 1, sizeof(char *));
	batch->set_handler = set_handler;
	return batch->states != NULL && batch->failures != NULL &&
		batch->stopped != NULL && batch->results != NULL;
}

/* Forgets the failures. */
static void
free_failures(Batch *batch)
{
	while (batch->failure_count > 0)
		free((char *) batch->failures[--batch->failure_count].error);
}

/* Frees a batch and its events. */
void
batch_free(Batch *batch)
{
	int			i;

	for (i = 0; batch->results != NULL && i < batch->claimed.count; i++)
		free(batch->results[i]);
	free(batch->results);
	free_failures(batch);
	free(batch->states);
	free(batch->failures);
	free(batch->stopped);
	text_free(&batch->completed_ids);
	pg_batch_free(&batch->claimed);
	memset(batch, 0, sizeof(*batch));
}

/* Must this event not be handled, because an earlier one of its key failed? */
bool
batch_is_blocked(const Batch *batch, int index)
{
	const AgentEvent *event = &batch->claimed.events[index];
	int			i;

	for (i = 0; i < batch->stopped_count; i++)
		if (event_same_key(event, &batch->claimed.events[batch->stopped[i]]))
			return true;
	return false;
}

/* Keeps the outcome of an event. */
void
batch_record(Batch *batch, int index, AgentOutcome outcome, const char *error,
			 int retry_in)
{
	PgFailure  *failure;

	if (outcome == AGENT_COMPLETE)
	{
		batch->states[index] = EVENT_COMPLETED;
		batch->open_count--;
		batch->completed_count++;
		return;
	}
	batch->stopped[batch->stopped_count++] = index;
	if (outcome == AGENT_RELEASE)
		return;
	batch->states[index] = EVENT_FAILED;
	batch->open_count--;
	failure = &batch->failures[batch->failure_count++];
	failure->event_id = batch->claimed.events[index].event_id;
	failure->error = strdup(error);
	failure->retryable = outcome == AGENT_RETRY;
	failure->retry_in = outcome == AGENT_RETRY ? retry_in : -1;
}

/* Keeps it that every event is for the set handler to complete. */
void
batch_record_all(Batch *batch)
{
	int			i;

	for (i = 0; i < batch->claimed.count; i++)
		batch_record(batch, i, AGENT_COMPLETE, NULL, -1);
}

/*
 * Keeps what was done outside for the set handler.  An event whose task was
 * not done is given back, with the later ones of its key.
 */
void
batch_record_tasks(Batch *batch, PgTasks *tasks)
{
	int			next = 0;
	int			i;

	for (i = 0; i < batch->claimed.count; i++)
	{
		AgentTask  *task = next < tasks->count &&
			tasks->tasks[next].event == &batch->claimed.events[i] ?
			&tasks->tasks[next++] : NULL;

		if (batch_is_blocked(batch, i))
			continue;
		if (task != NULL && task->result == NULL)
		{
			batch_record(batch, i, AGENT_RELEASE, NULL, -1);
			continue;
		}
		if (task != NULL)
		{
			batch->results[i] = task->result;
			task->result = NULL;
		}
		batch_record(batch, i, AGENT_COMPLETE, NULL, -1);
	}
}

/* Is there an outcome that the server does not know? */
bool
batch_has_news(const Batch *batch)
{
	return batch->completed_count > 0 || batch->failure_count > 0;
}

/* Makes the array literal of the completed events. */
static bool
list_completed(Batch *batch)
{
	Text	   *ids = &batch->completed_ids;
	int			i;

	text_free(ids);
	text_add(ids, "{");
	for (i = 0; i < batch->claimed.count; i++)
	{
		if (batch->states[i] != EVENT_COMPLETED)
			continue;
		if (ids->length > 1)
			text_add(ids, ",");
		text_add(ids, batch->claimed.events[i].event_id);
	}
	text_add(ids, "}");
	return !ids->failed;
}

/* Adds an event to a JSON array, with what was done for it outside. */
static bool
list_event(Text *list, const AgentEvent *event, const char *result)
{
	size_t		length;
	char	   *json = agent_event_json(event, &length);

	if (json == NULL)
		return false;
	if (list->length > 1)
		text_add(list, ",");
	if (result == NULL)
		text_add_bytes(list, json, length);
	else
	{
		/* before the brace that closes the event, and its line end */
		text_add_bytes(list, json, length - 2);
		text_add_json_member(list, "result", result, true);
		text_add(list, "}");
	}
	free(json);
	return true;
}

/* Makes the JSON array of the events in a state, for the set handler. */
static bool
list_events(Batch *batch, EventState state)
{
	Text	   *list = &batch->completed_ids;
	int			i;

	text_free(list);
	text_add(list, "[");
	for (i = 0; i < batch->claimed.count; i++)
		if (batch->states[i] == state &&
			!list_event(list, &batch->claimed.events[i], batch->results[i]))
			return false;
	text_add(list, "]");
	return !list->failed;
}

/* The JSON array of the events that nothing was done for; NULL: no memory. */
const char *
batch_list_open(Batch *batch)
{
	return list_events(batch, EVENT_OPEN) ? batch->completed_ids.data : NULL;
}

/* Puts all events into a turn for the set handler. */
static bool
fill_set(Batch *batch, PgTurn *turn)
{
	turn->set_handler = batch->set_handler;
	if (!list_events(batch, EVENT_COMPLETED))
		return false;
	turn->handled = batch->completed_ids.data;
	return true;
}

/* Puts the outcomes that the server does not know into a turn. */
bool
batch_fill_turn(Batch *batch, PgTurn *turn)
{
	turn->token = batch->claimed.events[0].token;
	turn->failures = batch->failures;
	turn->failure_count = batch->failure_count;
	turn->complete = batch->completed_count > 0;
	turn->completed_ids = NULL;
	if (turn->complete && batch->set_handler != NULL)
		return fill_set(batch, turn);
	if (turn->complete && batch->completed_count < batch->claimed.count)
	{
		if (!list_completed(batch))
			return false;
		turn->completed_ids = batch->completed_ids.data;
	}
	return true;
}

/* Puts the completed events alone into a turn, by their ids. */
bool
batch_fill_completed(Batch *batch, PgTurn *turn)
{
	turn->token = batch->claimed.events[0].token;
	turn->complete = true;
	if (batch->set_handler != NULL)
		return fill_set(batch, turn);
	if (!list_completed(batch))
		return false;
	turn->completed_ids = batch->completed_ids.data;
	return true;
}

/* Puts the last failure alone into a turn. */
void
batch_fill_failure(Batch *batch, PgTurn *turn)
{
	turn->token = batch->claimed.events[0].token;
	turn->failures = &batch->failures[batch->failure_count - 1];
	turn->failure_count = 1;
}

/* The server knows the completed events. */
void
batch_completed_reported(Batch *batch)
{
	int			i;

	for (i = 0; i < batch->claimed.count; i++)
		if (batch->states[i] == EVENT_COMPLETED)
			batch->states[i] = EVENT_REPORTED;
	batch->completed_count = 0;
}

/* The server knows the last failure. */
void
batch_failure_reported(Batch *batch)
{
	free((char *) batch->failures[--batch->failure_count].error);
}

/* The server knows all outcomes so far. */
void
batch_reported(Batch *batch)
{
	batch_completed_reported(batch);
	free_failures(batch);
	batch->in_doubt = false;
}
