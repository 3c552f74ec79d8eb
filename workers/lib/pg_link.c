/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pg_link.c
 *	  A connection to the server, and statements on it.  This file and
 *	  pg.c use libpq; agent_work_on() does on a connection of a handler's.
 *
 * A connection is in non-blocking pipeline mode all its life.  link_run()
 * sends the statements of one transaction and a sync, and reads all results
 * with a deadline; whatever it returns, the connection is either ready for
 * the next call or closed.
 *
 * The server enforces the statement timeout, set for the transaction only.
 * The client's own deadline is later and catches a server that is gone.  A
 * stop makes it earlier: nothing here waits for a silent server then.
 *
 * Messages kept for the log are the primary message of the server or libpq's
 * connection error without the password; details could quote data.
 *
 * A PgConn belongs to one thread.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pg_link.h"
#include "stop.h"
#include "text.h"
#include "value.h"

/* How long a cancelled wait may take to answer. */
#define CANCEL_TIMEOUT (2 * SECOND)

#define STATEMENT_COUNT (ST_PREPARE_RECORDS + 1)

/* A wait for results. */
typedef struct Wait
{
	long long	deadline;
	int			interrupt_fd;
	bool		cancel;			/* when interrupted */
	bool		is_over;		/* the deadline has passed */
} Wait;

static const struct
{
	const char *name;
	const char *sql;
	int			params;
}			statements[STATEMENT_COUNT] = {
	[ST_BEGIN] = {"sentinai_begin",
		"begin isolation level read committed, read write", 0},
	[ST_TIMEOUT] = {"sentinai_timeout",
		"select pg_catalog.set_config('statement_timeout', $1, true)", 1},
	[ST_COMMIT] = {"sentinai_commit", "commit", 0},
	[ST_ROLLBACK] = {"sentinai_rollback", "rollback", 0},
	[ST_CLAIM] = {"sentinai_claim",
		"select token, event_id, event_type, tenant_id, aggregate_type,"
		" aggregate_id, schema_version, payload, metadata, correlation_id,"
		" causation_id, pg_catalog.to_char(occurred_at at time zone 'UTC',"
		" 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
		" metadata operator(pg_catalog.->>) 'traceparent',"
		" metadata operator(pg_catalog.->>) 'tracestate', attempt"
		" from sentinai.claim($1::text, $2::int4, $3::interval, $4::text)",
	4},
	[ST_COMPLETE] = {"sentinai_complete",
		"select sentinai.complete($1::text, $2::uuid[])", 2},
	[ST_FAIL] = {"sentinai_fail",
		"select sentinai.fail($1::text, $2::uuid, $3::text, $4::bool,"
		" $5::interval)", 5},
	[ST_EXTEND] = {"sentinai_extend",
		"select sentinai.extend($1::text, $2::interval)", 2},
	[ST_RELEASE] = {"sentinai_release",
		"select sentinai.release($1::text)", 1},
	[ST_WAIT] = {"sentinai_wait",
		"call sentinai.wait_for_work($1::text, $2::interval, null)", 2},
	[ST_PID] = {"sentinai_pid", "select pg_catalog.pg_backend_pid()", 0},
	[ST_HANDLE] = {"sentinai_handle",
		"select handled, retried, dead"
		" from sentinai_platform.handle($1::text, $2::jsonb)", 2},
	[ST_PREPARE] = {"sentinai_prepare",
		"select * from sentinai_platform.prepare($1::text, $2::jsonb)", 2},
	[ST_RECORDS] = {"sentinai_records",
		"select handled, dead, poison, failed, delays, waiting"
		" from sentinai_platform.handle_records($1::text, $2::text, $3::int4,"
		" $4::jsonb)", 4},
	[ST_PREPARE_RECORDS] = {"sentinai_prepare_records",
		"select * from sentinai_platform.prepare_records($1::text,"
		" $2::jsonb)", 2}
};

/* Makes a connection object; it is not connected yet. */
PgConn *
pg_new(const Settings *settings, const char *program, const char *worker_id)
{
	PgConn	   *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->settings = settings;
	conn->program = program;
	conn->interrupt_fd = -1;
	snprintf(conn->worker_id, sizeof(conn->worker_id), "%s", worker_id);
	snprintf(conn->lease, sizeof(conn->lease), "%d milliseconds",
			 settings->lease);
	snprintf(conn->max_events, sizeof(conn->max_events), "%d",
			 settings->max_events);
	snprintf(conn->timeout, sizeof(conn->timeout), "%d",
			 settings->statement_timeout);
	return conn;
}

/*
 * From now on no call waits longer than the grace (milliseconds) once the
 * descriptor is readable.
 */
void
pg_set_interrupt(PgConn *conn, int fd, int grace)
{
	conn->interrupt_fd = fd;
	conn->interrupt_grace = grace;
}

/* Disconnects and frees. */
void
pg_free(PgConn *conn)
{
	if (conn == NULL)
		return;
	pg_disconnect(conn);
	free(conn);
}

/* Closes the connection, if any. */
void
pg_disconnect(PgConn *conn)
{
	PQfinish(conn->conn);
	conn->conn = NULL;
	conn->prepared = false;
}

/* Is there a connection, as far as we know? */
bool
pg_is_connected(const PgConn *conn)
{
	return conn->conn != NULL;
}

/* SQLSTATE of the last call that was refused or lost. */
const char *
pg_sqlstate(const PgConn *conn)
{
	return conn->sqlstate;
}

/* Was the last call lost because the server takes no writes? */
bool
pg_is_read_only(const PgConn *conn)
{
	return conn->read_only;
}

/* Message of the last call that was refused or lost. */
const char *
pg_message(const PgConn *conn)
{
	return conn->message;
}

/*
 * Hides every occurrence of a secret.  They are looked for in a copy, because
 * a secret may look like what hides it, and may overlap itself.
 */
static void
hide(char *message, const char *copy, const char *secret)
{
	size_t		length = strlen(secret);
	const char *found = copy;

	while (length > 0 && (found = strstr(found, secret)) != NULL)
	{
		memset(message + (found - copy), '*', length);
		found++;
	}
}

/* Is this the password, or something else that must not be seen? */
static bool
is_secret_keyword(const char *keyword)
{
	return strcmp(keyword, "password") == 0 ||
		strcmp(keyword, "sslpassword") == 0;
}

/* Keeps a message, or as much as there is room for, as one line. */
static void
keep_message(PgConn *conn, const char *sqlstate, const char *message)
{
	size_t		length = strlen(message);

	while (length > 0 && message[length - 1] == '\n')
		length--;
	snprintf(conn->sqlstate, sizeof(conn->sqlstate), "%s", sqlstate);
	text_clean(conn->message, sizeof(conn->message), message, length);
}

/* Keeps libpq's message without secrets; they go before it is cut. */
static void
keep_connection_error(PgConn *conn)
{
	const char *message = PQerrorMessage(conn->conn);
	PQconninfoOption *options = PQconninfo(conn->conn);
	PQconninfoOption *option;
	char	   *hidden = strdup(message);

	for (option = options; option != NULL && option->keyword; option++)
		if (hidden != NULL && is_secret_keyword(option->keyword) &&
			option->val != NULL)
			hide(hidden, message, option->val);
	PQconninfoFree(options);
	keep_message(conn, "08006", hidden != NULL && *hidden != '\0' ? hidden :
				 "connection lost");
	free(hidden);
}

/* Keeps the error of a result. */
static void
keep_result_error(PgConn *conn, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (state == NULL)
	{
		keep_connection_error(conn);
		return;
	}
	keep_message(conn, state, message ? message : "");
}

/* Closes a broken connection and keeps the reason, unless one is kept. */
PgStatus
link_lose(PgConn *conn, const char *reason)
{
	if (reason != NULL)
		keep_message(conn, "08006", reason);
	else if (conn->message[0] == '\0')
		keep_connection_error(conn);
	pg_disconnect(conn);
	return PG_LOST;
}

/* Logs notices at the lowest level. */
static void
receive_notice(void *arg, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void) arg;
	log_line(LOG_DEBUG, "notice from the server", LOG_S("text", message),
			 LOG_END);
}

/* The thread that sends a cancel request; the call has no time limit. */
static void *
cancel_main(void *arg)
{
	char		error[256];

	PQcancel(arg, error, sizeof(error));
	PQfreeCancel(arg);
	return NULL;
}

/* Asks the server to end what it is doing for us, and does not wait. */
static void
cancel(PgConn *conn)
{
	PGcancel   *request = PQgetCancel(conn->conn);
	pthread_t	thread;

	if (request == NULL)
		return;
	if (pthread_create(&thread, NULL, cancel_main, request) == 0)
		pthread_detach(thread);
	else
		PQfreeCancel(request);
}

/* The interrupt descriptor is readable: there is not much time any more. */
static void
shorten_wait(PgConn *conn, Wait *wait)
{
	long long	grace = wait->cancel ? CANCEL_TIMEOUT : conn->interrupt_grace;

	wait->interrupt_fd = -1;
	if (wait->cancel)
		cancel(conn);
	if (wait->deadline > clock_ms() + grace)
		wait->deadline = clock_ms() + grace;
}

/* Waits until a result can be taken without blocking; false: not in time. */
static bool
await_result(PgConn *conn, Wait *wait)
{
	for (;;)
	{
		struct pollfd fds[2];
		int			flushed = PQflush(conn->conn);
		long long	left;

		if (!PQisBusy(conn->conn))
			return true;
		left = wait->deadline - clock_ms();
		if (left <= 0)
		{
			wait->is_over = true;
			return false;
		}
		fds[0].fd = PQsocket(conn->conn);
		fds[0].events = (short) (POLLIN | (flushed == 1 ? POLLOUT : 0));
		fds[1].fd = wait->interrupt_fd;
		fds[1].events = POLLIN;
		fds[0].revents = fds[1].revents = 0;
		if (poll(fds, 2, left > MINUTE ? MINUTE : (int) left) < 0)
			continue;
		if (fds[1].revents != 0)
			shorten_wait(conn, wait);
		if (fds[0].revents != 0 && !PQconsumeInput(conn->conn))
			return false;
	}
}

/* Sends one statement. */
static bool
send_step(PgConn *conn, const Step *step)
{
	int			params = statements[step->statement].params;

	if (conn->prepared && step->statement < ST_PID)
		return PQsendQueryPrepared(conn->conn,
								   statements[step->statement].name, params,
								   step->params, NULL, NULL, 0) == 1;
	return PQsendQueryParams(conn->conn, statements[step->statement].sql,
							 params, NULL, step->params, NULL, NULL, 0) == 1;
}

/*
 * Takes the results of `count` statements up to the sync.  Returns the index
 * of the first that failed, -1 if none did, or -2 when the connection is not
 * usable any more.
 */
static int
read_results(PgConn *conn, Step *steps, int count, Wait *wait)
{
	int			failed = -1;
	int			index = 0;

	for (;;)
	{
		PGresult   *result;
		ExecStatusType status;

		if (!await_result(conn, wait))
			return -2;
		result = PQgetResult(conn->conn);
		if (result == NULL)
		{
			if (++index > count)
				return -2;
			continue;
		}
		status = PQresultStatus(result);
		if (status == PGRES_PIPELINE_SYNC)
		{
			PQclear(result);
			return failed;
		}
		if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		{
			/* libpq's own error, as no memory: the server may have committed */
			bool		is_ours = status == PGRES_FATAL_ERROR &&
				PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL;

			if (failed == -1)
			{
				failed = index;
				keep_result_error(conn, result);
			}
			PQclear(result);
			/* behind the last statement: of no step, so nobody knows of what */
			if (PQstatus(conn->conn) == CONNECTION_BAD || is_ours ||
				index >= count)
				return -2;
		}
		else if (steps != NULL && index < count &&
				 steps[index].result == NULL)
			steps[index].result = result;
		else
			PQclear(result);
	}
}

/* Frees the results of steps. */
void
link_clear(Step *steps, int count)
{
	int			i;

	for (i = 0; i < count; i++)
	{
		PQclear(steps[i].result);
		steps[i].result = NULL;
	}
}

/* Errors that say that prepared statements and this session do not agree. */
static bool
is_prepare_error(const char *sqlstate)
{
	return strcmp(sqlstate, "26000") == 0 ||
		strcmp(sqlstate, "42P05") == 0 || strcmp(sqlstate, "0A000") == 0;
}

/* Errors after which the server closes the connection. */
static bool
is_shutdown_error(const char *sqlstate)
{
	return strncmp(sqlstate, "57P", 3) == 0 || strncmp(sqlstate, "08", 2) == 0;
}

/*
 * Does the server take no writes?  A standby refuses the begin of our
 * transactions.  The connection is of no use then: another one may lead to
 * the primary.
 */
static bool
is_read_only_error(const char *sqlstate, Statement statement)
{
	return strcmp(sqlstate, "25006") == 0 ||
		(statement == ST_BEGIN && strcmp(sqlstate, "0A000") == 0);
}

/*
 * Runs statements in one round trip.  Unless all succeed, there are no
 * results and, for a transaction that begins and commits here, no effects.
 */
PgStatus
link_run(PgConn *conn, Step *steps, int count, int timeout, bool cancel_wait,
		 int *failed_step)
{
	Wait		wait = {
		.deadline = clock_ms() + timeout,
		.interrupt_fd = conn->interrupt_fd,.cancel = cancel_wait
	};
	int			failed;
	int			i;

	conn->message[0] = conn->sqlstate[0] = '\0';
	conn->read_only = false;
	if (conn->conn == NULL)
		return link_lose(conn, "not connected");
	for (i = 0; i < count; i++)
		if (!send_step(conn, &steps[i]))
			return link_lose(conn, NULL);
	if (PQpipelineSync(conn->conn) != 1)
		return link_lose(conn, NULL);
	failed = read_results(conn, steps, count, &wait);
	if (failed == -1)
		return PG_DONE;
	link_clear(steps, count);
	if (failed == -2 && wait.is_over)
	{
		/* if it is only slow, nothing shall happen that we do not know of */
		cancel(conn);
		return link_lose(conn, "no answer from the server in time");
	}
	if (failed == -2)
		return link_lose(conn, NULL);
	if (failed_step != NULL)
		*failed_step = failed;
	conn->read_only = is_read_only_error(conn->sqlstate,
										 steps[failed].statement);
	if (conn->read_only || is_shutdown_error(conn->sqlstate))
		return link_lose(conn, NULL);
	if (conn->prepared && is_prepare_error(conn->sqlstate))
	{
		conn->never_prepare = conn->settings->prepare == PREPARE_AUTO &&
			strcmp(conn->sqlstate, "0A000") != 0;
		return link_lose(conn, NULL);
	}
	return PG_REFUSED;
}

/* Like link_run, and leaves no failed transaction open. */
PgStatus
link_transaction(PgConn *conn, Step *steps, int count, int timeout,
				 int *failed_step)
{
	PgStatus	status;
	char		sqlstate[sizeof(conn->sqlstate)];
	char		message[sizeof(conn->message)];
	Step		rollback = {.statement = ST_ROLLBACK};

	status = link_run(conn, steps, count, timeout, false, failed_step);
	if (status != PG_REFUSED)
		return status;
	memcpy(sqlstate, conn->sqlstate, sizeof(sqlstate));
	memcpy(message, conn->message, sizeof(message));
	status = link_run(conn, &rollback, 1, timeout, false, NULL);
	link_clear(&rollback, 1);
	if (status != PG_DONE)
		pg_disconnect(conn);
	memcpy(conn->sqlstate, sqlstate, sizeof(sqlstate));
	memcpy(conn->message, message, sizeof(message));
	return PG_REFUSED;
}

/* Is there a pooler between us and the server?  Its process ids are made up. */
static bool
is_pooled(PgConn *conn)
{
	Step		step = {.statement = ST_PID};
	bool		pooled = true;

	if (link_run(conn, &step, 1, conn->settings->connect_timeout +
				 DEADLINE_SLACK, false, NULL) == PG_DONE)
		pooled = atoi(PQgetvalue(step.result, 0, 0)) !=
			PQbackendPID(conn->conn);
	link_clear(&step, 1);
	return pooled;
}

/* Prepares all statements in one round trip. */
static bool
prepare_statements(PgConn *conn)
{
	Wait		wait = {
		.deadline = clock_ms() + conn->settings->connect_timeout +
		DEADLINE_SLACK,
		.interrupt_fd = conn->interrupt_fd
	};
	int			i;

	for (i = 0; i < ST_PID; i++)
		if (PQsendPrepare(conn->conn, statements[i].name, statements[i].sql,
						  statements[i].params, NULL) != 1)
			return false;
	if (PQpipelineSync(conn->conn) != 1)
		return false;
	conn->prepared = read_results(conn, NULL, ST_PID, &wait) == -1;
	return conn->prepared;
}

/* Opens the connection; blocks for at most the connect timeout per host. */
bool
pg_connect(PgConn *conn)
{
	const Settings *settings = conn->settings;
	char		seconds[16];
	char		name[64];
	bool		want;

	/*
	 * As in psql, a connection string in dbname has the last word.  An agent
	 * writes, so of several hosts it takes the primary unless told otherwise.
	 */
	const char *const keywords[] = {
		"fallback_application_name", "connect_timeout", "client_encoding",
		"keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "target_session_attrs", "host", "port", "user",
		"passfile", "dbname", NULL
	};
	const char *const values[] = {
		name, seconds, "UTF8", "30", "10", "3", "30000",
		getenv("PGTARGETSESSIONATTRS") ? NULL : "primary", settings->host,
		settings->port, settings->user, settings->passfile, settings->dbname,
		NULL
	};

	pg_disconnect(conn);
	conn->message[0] = conn->sqlstate[0] = '\0';
	snprintf(seconds, sizeof(seconds), "%d",
			 (settings->connect_timeout + SECOND - 1) / SECOND);
	snprintf(name, sizeof(name), "%s", conn->program);
	conn->conn = PQconnectdbParams(keywords, values, 1);
	if (PQstatus(conn->conn) != CONNECTION_OK)
	{
		link_lose(conn, NULL);
		return false;
	}
	PQsetNoticeReceiver(conn->conn, receive_notice, NULL);
	if (PQsetnonblocking(conn->conn, 1) != 0 ||
		PQenterPipelineMode(conn->conn) != 1)
	{
		link_lose(conn, NULL);
		return false;
	}
	want = settings->prepare == PREPARE_ON ||
		(settings->prepare == PREPARE_AUTO && !conn->never_prepare &&
		 !is_pooled(conn));
	if (conn->conn != NULL && want && !prepare_statements(conn))
		link_lose(conn, NULL);
	return conn->conn != NULL;
}

/* Is this a connection string and not the name of a database? */
static bool
is_conninfo(const char *dbname)
{
	return strchr(dbname, '=') != NULL ||
		strncmp(dbname, "postgres://", 11) == 0 ||
		strncmp(dbname, "postgresql://", 13) == 0;
}

/*
 * Checks the form of a connection string, so that libpq never has to report
 * a malformed one: its message would quote it.
 */
bool
pg_check_conninfo(const Settings *settings)
{
	PQconninfoOption *options;

	if (settings->dbname == NULL || !is_conninfo(settings->dbname))
		return true;
	options = PQconninfoParse(settings->dbname, NULL);
	PQconninfoFree(options);
	return options != NULL;
}

/* Is there no password in a --dbname? */
bool
pg_is_public(const char *dbname)
{
	PQconninfoOption *options;
	PQconninfoOption *option;
	bool		is_public;

	if (!is_conninfo(dbname))
		return true;
	options = PQconninfoParse(dbname, NULL);
	is_public = options != NULL;
	for (option = options; option != NULL && option->keyword; option++)
		if (is_secret_keyword(option->keyword) && option->val != NULL)
			is_public = false;
	PQconninfoFree(options);
	return is_public;
}
