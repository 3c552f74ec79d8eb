/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tool_agent.c
 *	  sentinai-tool: calls the tools of the platform.
 *
 * The database says what a batch has to call (prepare), the calls are made
 * here, many at once and with no transaction open, and their results go back
 * with the batch (handle).  Calls for one exception come one behind the other,
 * and after one that is to be made again no more of it.
 *
 * With Kafka as the source it is the same: see workers/kafka/kafka_outside.c.
 *
 * Every call has its execution's id as Idempotency-Key, after the tenant where
 * tenants share the tool.  A call whose result
 * was lost is made again with the same, so at the webhook a call comes at
 * least once; in the database its outcome stands once.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_call.h"
#include "kafka_source.h"
#include "log.h"
#include "secret.h"
#include "set_agent.h"

/* How long a wait for answers may keep a stop from being seen. */
#define POLL_TIME 100

/* Columns of prepare(). */
typedef enum Column
{
	COLUMN_RESULT,
	COLUMN_EXECUTION,
	COLUMN_KEY,
	COLUMN_OWNER,
	COLUMN_MAY_RETRY,
	COLUMN_METHOD,
	COLUMN_URL,
	COLUMN_HOST,
	COLUMN_PORT,
	COLUMN_NETWORKS,
	COLUMN_HEADERS,
	COLUMN_SECRETS,
	COLUMN_BODY,
	COLUMN_TIMEOUT,
	COLUMN_MAX_RESPONSE
} Column;

typedef enum CallState
{
	CALL_WAITING,
	CALL_RUNNING,
	CALL_DONE,
	CALL_BLOCKED				/* no call of its exception may follow */
} CallState;

/* A task and its call. */
typedef struct Job
{
	AgentTask  *task;
	CallState	state;
	int			before;			/* the task of its exception before it, or -1 */
	HttpCall	call;
	char	   *secrets[8];
	int			secret_count;
} Job;

typedef struct ToolSettings
{
	KafkaSettings events;		/* where they come from */
	char	   *secrets_dir;
	int			max_calls;
} ToolSettings;

#define AT(member) offsetof(ToolSettings, member)
#define MAX_SECRETS ((int) (sizeof(((Job *) NULL)->secrets) / sizeof(char *)))

static ToolSettings settings;

static const AgentOption options[] = {
	SET_AGENT_OPTIONS,
	{"secrets-dir", 0, AGENT_OPTION_STRING, AT(secrets_dir), NULL, 0, 0, NULL,
		NULL, false, false, "DIRECTORY",
	"folder of the secrets that tools name, one for each tenant in it"},
	{"max-calls", 0, AGENT_OPTION_INT, AT(max_calls), "64", 1, 10000, NULL,
		NULL, false, false, "NUMBER",
	"calls that one thread makes at the same time"},
	{.name = NULL}
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t multi_key;

/* Ends a thread's connections with it. */
static void
free_multi(void *multi)
{
	curl_multi_cleanup(multi);
}

/* Prepares libcurl, before any thread uses it. */
static void
init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
	pthread_key_create(&multi_key, free_multi);
}

/* The thread's connections, which outlive a batch; NULL: no memory. */
static CURLM *
thread_multi(void)
{
	CURLM	   *multi;

	pthread_once(&once, init_curl);
	multi = pthread_getspecific(multi_key);
	if (multi == NULL)
	{
		multi = curl_multi_init();
		pthread_setspecific(multi_key, multi);
	}
	return multi;
}

/* Adds headers, each a line "Name: value", by a function for the value. */
static bool
add_headers(Job *job, const char *lines,
			bool (*add) (Job *job, const char *name, const char *value))
{
	char	   *copy = strdup(lines);
	char	   *rest = copy;
	char	   *line;
	bool		added = copy != NULL;

	while (added && (line = strsep(&rest, "\n")) != NULL)
	{
		char	   *colon = strstr(line, ": ");

		if (colon == NULL)
			continue;
		*colon = '\0';
		added = add(job, line, colon + 2);
	}
	free(copy);
	return added;
}

/* Adds a header as it stands. */
static bool
add_plain(Job *job, const char *name, const char *value)
{
	return http_call_add_header(&job->call, name, value);
}

/* Adds a header whose value is a secret of this name. */
static bool
add_secret(Job *job, const char *name, const char *secret_name)
{
	char	   *secret;

	job->call.error = "there are too many secrets";
	if (job->secret_count == MAX_SECRETS)
		return false;
	secret = secret_read(settings.secrets_dir,
						 job->task->columns[COLUMN_OWNER], secret_name,
						 &job->call.error);
	if (secret == NULL)
	{
		log_line(LOG_WARNING, "a secret of a tool cannot be used",
				 LOG_S("tenant", job->task->columns[COLUMN_OWNER]),
				 LOG_S("secret", secret_name),
				 LOG_S("error", job->call.error), LOG_END);
		return false;
	}
	job->call.error = NULL;
	job->secrets[job->secret_count++] = secret;
	return http_call_add_header(&job->call, name, secret);
}

/* Fills in the call of a task; false when it cannot be made. */
static bool
make_call(Job *job)
{
	const char *const *columns = job->task->columns;
	const AgentEvent *event = job->task->event;
	HttpCall   *call = &job->call;

	call->method = columns[COLUMN_METHOD];
	call->url = columns[COLUMN_URL];
	call->host = columns[COLUMN_HOST];
	call->port = columns[COLUMN_PORT];
	call->networks = columns[COLUMN_NETWORKS];
	call->body = columns[COLUMN_BODY];
	call->timeout = atol(columns[COLUMN_TIMEOUT]);
	call->max_response = (size_t) atol(columns[COLUMN_MAX_RESPONSE]);
	return http_call_add_header(call, "Idempotency-Key",
								columns[COLUMN_KEY]) &&
		(event->traceparent == NULL ||
		 http_call_add_header(call, "traceparent", event->traceparent)) &&
		(event->tracestate == NULL ||
		 http_call_add_header(call, "tracestate", event->tracestate)) &&
		add_headers(job, columns[COLUMN_HEADERS], add_plain) &&
		add_headers(job, columns[COLUMN_SECRETS], add_secret);
}

/* Adds what was answered, without what no JSON may have and what is secret. */
static void
add_body(Text *result, const Job *job)
{
	const Text *response = &job->call.response;
	char	   *clean = calloc(1, response->length + 1);
	int			i;

	if (clean == NULL)
	{
		result->failed = true;
		return;
	}
	for (i = 0; i < job->secret_count; i++)
		secret_hide(response->data, response->length, job->secrets[i]);
	text_clean(clean, response->length + 1, response->data, response->length);
	text_add_json_member(result, "body", clean, false);
	free(clean);
}

/* Makes the result that the handler gets. */
static void
make_result(Job *job)
{
	const HttpCall *call = &job->call;
	Text		result = {0};
	char		number[32];

	text_add(&result, "{");
	text_add_json_member(&result, "called", call->called ? "true" : "false",
						 true);
	snprintf(number, sizeof(number), "%.3f", call->duration);
	text_add_json_member(&result, "duration_ms", number, true);
	if (call->status > 0)
	{
		snprintf(number, sizeof(number), "%ld", call->status);
		text_add_json_member(&result, "status", number, true);
	}
	if (call->error != NULL)
	{
		text_add_json_member(&result, "error", call->error, false);
		text_add_json_member(&result, "retryable",
							 call->retryable ? "true" : "false", true);
	}
	else if (call->response.length > 0)
		add_body(&result, job);
	text_add(&result, "}");
	if (result.failed)
		text_free(&result);
	job->task->result = result.data;
}

/* The job is done: keeps its result, and forgets the rest. */
static void
finish_job(Job *job, CURLM *multi)
{
	const HttpCall *call = &job->call;
	bool		good = call->error == NULL && call->status / 100 == 2;

	make_result(job);
	log_line(good ? LOG_DEBUG : LOG_INFO, "tool called",
			 LOG_S("event_id", job->task->event->event_id),
			 LOG_S("execution_id", job->task->columns[COLUMN_EXECUTION]),
			 LOG_S("host", job->task->columns[COLUMN_HOST]),
			 LOG_N("status", call->status), LOG_S("error", call->error),
			 LOG_N("ms", call->duration), LOG_END);
	/* if it is made again, what follows it has to wait for that */
	job->state = job->task->result == NULL ||
		(!good && job->task->columns[COLUMN_MAY_RETRY][0] == 't') ?
		CALL_BLOCKED : CALL_DONE;
	http_call_free(&job->call, multi);
}

/* Forgets a job. */
static void
free_job(Job *job, CURLM *multi)
{
	http_call_free(&job->call, multi);
	while (job->secret_count > 0)
		secret_free(job->secrets[--job->secret_count]);
}

/* Starts a job, or ends it at once. */
static void
start_job(Job *job, CURLM *multi)
{
	const char *known = job->task->columns[COLUMN_RESULT];

	if (known != NULL)
	{
		job->task->result = strdup(known);
		job->state = job->task->columns[COLUMN_MAY_RETRY][0] == 't' ?
			CALL_BLOCKED : CALL_DONE;
		return;
	}
	if (make_call(job) && http_call_start(&job->call, multi))
	{
		job->state = CALL_RUNNING;
		return;
	}
	if (job->call.error == NULL)
	{
		job->call.error = "the call could not be made";
		job->call.retryable = true;
	}
	finish_job(job, multi);
}

/* Starts what may start; how many run. */
static int
start_jobs(Job *jobs, int count, CURLM *multi)
{
	int			running = 0;
	int			i;

	for (i = 0; i < count; i++)
		running += jobs[i].state == CALL_RUNNING;
	for (i = 0; i < count && running < settings.max_calls; i++)
	{
		CallState	before = jobs[i].before < 0 ? CALL_DONE :
			jobs[jobs[i].before].state;

		if (jobs[i].state != CALL_WAITING)
			continue;
		if (before == CALL_BLOCKED)
			jobs[i].state = CALL_BLOCKED;
		else if (before == CALL_DONE)
			start_job(&jobs[i], multi);
		running += jobs[i].state == CALL_RUNNING;
	}
	return running;
}

/* Takes the calls that have ended. */
static void
take_answers(CURLM *multi, Job *jobs)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURLcode	code = message->data.result;
		char	   *call;
		Job		   *job;

		if (message->msg != CURLMSG_DONE ||
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE,
							  &call) != CURLE_OK)
			continue;
		job = jobs + (call - (char *) &jobs->call) / (ptrdiff_t) sizeof(Job);
		http_call_end(&job->call, multi, code);
		finish_job(job, multi);
	}
}

/* Finds for each job the one before it of the same exception. */
static void
find_order(Job *jobs, int count)
{
	int			i;
	int			j;

	for (i = 0; i < count; i++)
	{
		const AgentEvent *event = jobs[i].task->event;

		jobs[i].before = -1;
		for (j = i - 1; j >= 0 && jobs[i].before < 0; j--)
		{
			const AgentEvent *other = jobs[j].task->event;

			if (strcmp(event->tenant_id, other->tenant_id) == 0 &&
				strcmp(event->aggregate_id, other->aggregate_id) == 0)
				jobs[i].before = j;
		}
	}
}

/* Makes the calls of a batch. */
static void
make_calls(AgentTask *tasks, int count, AgentContext *context)
{
	CURLM	   *multi = thread_multi();
	Job		   *jobs = calloc((size_t) count, sizeof(Job));
	int			running;
	int			i;

	if (multi == NULL || jobs == NULL)
	{
		log_line(LOG_ERROR, "out of memory", LOG_END);
		free(jobs);
		return;
	}
	for (i = 0; i < count; i++)
		jobs[i].task = &tasks[i];
	find_order(jobs, count);
	/* what a call that ends lets begin is started before the next wait */
	while (start_jobs(jobs, count, multi) > 0 && !agent_should_stop(context))
	{
		curl_multi_perform(multi, &running);
		take_answers(multi, jobs);
		if (running > 0)
			curl_multi_poll(multi, NULL, 0, POLL_TIME, NULL);
	}
	for (i = 0; i < count; i++)
		free_job(&jobs[i], multi);
	free(jobs);
}

int
main(int argc, char **argv)
{
	const AgentDefinition definition = {
		.name = "sentinai-tool",
		.summary = "calls the tools of the platform",
		.options = options,
		.settings = &settings,
		.set_handler = "tool",
		.outside = make_calls,
		.worker_type = "tool",
		.group = &settings.events.group_id,
		.source = kafka_source
	};

	return agent_main(&definition, argc, argv);
}
