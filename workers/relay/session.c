/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * session.c
 *	  The session in the server that works for a sentinai-relay.
 *
 * Statements are queued, and go with the first one that has an answer: a
 * turn that stores and reads is two round trips.
 *
 * The process sleeps in the server, in relay_wait(), so that the sequencer can
 * wake it.  What the broker has to say ends that sleep, too: the client sends
 * a Sync, which relay_wait() sees, and which has no other effect.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "log.h"
#include "session.h"

#define SLACK_MS	30000		/* the server has no longer to end a sleep */

jmp_buf		session_failed;
volatile sig_atomic_t session_stop = 0;

static PGconn *conn = NULL;
static PGresult *last = NULL;	/* of the last call */
static PGresult *kept = NULL;	/* of one whose events are not pushed yet */

/* What is queued or on its way */
static int	ncommands;
static int	nsyncs;
static int	wanted = -1;		/* the command whose result is `last`; -1: none */
static bool in_transaction;

/* Forgets a result. */
static void
forget(PGresult **result)
{
	PQclear(*result);
	*result = NULL;
}

/* Ends the session, and whatever was begun in it. */
void
session_close(void)
{
	forget(&last);
	forget(&kept);
	PQfinish(conn);
	conn = NULL;
}

/* Whether an error will come again, whoever tries. */
static bool
is_final(const char *sqlstate)
{
	return strncmp(sqlstate, "SN", 2) == 0 ||
		strncmp(sqlstate, "42", 2) == 0 || strcmp(sqlstate, "55000") == 0;
}

/* Says what failed, and begins again; or ends the program. */
static void __attribute__((noreturn))
fail(const char *what, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	bool		final = sqlstate != NULL && is_final(sqlstate);

	log_line(LOG_ERROR, what, LOG_S("sqlstate", sqlstate),
			 LOG_S("error", message != NULL ? message : PQerrorMessage(conn)),
			 LOG_S("hint", hint), LOG_END);
	session_close();
	if (final)
		exit(EX_UNAVAILABLE);
	longjmp(session_failed, 1);
}

/* Takes a result that has to be of a kind. */
static void
expect(PGresult *result, ExecStatusType status, const char *what)
{
	forget(&last);
	last = result;
	if (PQresultStatus(result) != status)
		fail(what, result);
}

/* Prepares a statement. */
static void
prepare(const char *name, const char *statement)
{
	expect(PQprepare(conn, name, statement, 0, NULL), PGRES_COMMAND_OK,
		   "cannot work for a relay");
}

/* Connects. */
void
session_connect(const Tool *tool)
{
	ncommands = nsyncs = 0;
	wanted = -1;
	in_transaction = false;
	conn = tool_connect(tool);
	if (PQstatus(conn) != CONNECTION_OK)
		fail("cannot connect", NULL);
	expect(PQexec(conn, "set statement_timeout = 0"), PGRES_COMMAND_OK,
		   "statement failed");
	expect(PQexec(conn, "set idle_in_transaction_session_timeout = 0"),
		   PGRES_COMMAND_OK, "statement failed");
	prepare("begin", "begin");
	prepare("commit", "commit");
	prepare("call", "select sentinai.relay_call($1, $2)");
	prepare("wait", "call sentinai.relay_wait($1, $2, $3, null)");
}

/* Has the session work for the relay; false: not now. */
bool
session_open(const char *relay, const char **why_not)
{
	char		pid[16];
	char		protocol[16];
	const char *params[] = {relay, pid, protocol};

	snprintf(pid, sizeof(pid), "%d", PQbackendPID(conn));
	snprintf(protocol, sizeof(protocol), "%d", SN_RELAY_PROTOCOL);
	expect(PQexecParams(conn, "select sentinai.relay_open($1, $2, $3)", 3,
						NULL, params, NULL, NULL, 0), PGRES_TUPLES_OK,
		   "cannot open the relay");
	*why_not = PQgetvalue(last, 0, 0);
	return PQgetisnull(last, 0, 0);
}

/* A function of libpq fails when the connection is gone. */
static void
need(int done)
{
	if (!done)
		fail("connection lost", NULL);
}

/* Has a statement go with what is sent next. */
static void
queue(const char *name, int nvalues, const char *const *values,
	  const int *lengths, const int *formats, int result_format)
{
	if (ncommands == 0 && nsyncs == 0)
		need(PQenterPipelineMode(conn));
	need(PQsendQueryPrepared(conn, name, nvalues, values, lengths, formats,
							 result_format));
	ncommands++;
}

/* The end of what an error in it undoes; sends all that was queued. */
static void
send_queued(void)
{
	need(PQpipelineSync(conn));
	nsyncs++;
}

/* Takes a result of the pipeline; keeps the wanted one as `last`. */
static void
keep_result(PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_PIPELINE_SYNC)
		nsyncs--;
	else if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
	{
		forget(&last);
		last = result;
		fail("the server refuses a step of the relay", result);
	}
	else if (wanted-- == 0)
	{
		forget(&last);
		last = result;
		return;
	}
	PQclear(result);
}

/* Takes the answers to everything that was sent. */
static void
await_results(void)
{
	while (nsyncs > 0)
	{
		PGresult   *result = PQgetResult(conn);

		if (result != NULL)
			keep_result(result);
		else
			need(PQstatus(conn) == CONNECTION_OK);
	}
	ncommands = 0;
	need(PQexitPipelineMode(conn));
}

/* Begins the transaction of a turn, with the first call. */
void
session_begin(void)
{
	queue("begin", 0, NULL, NULL, NULL, 0);
	in_transaction = true;
}

/* Writes a number as the server reads it. */
static void
put_int4(char *to, uint32_t value)
{
	int			i;

	for (i = 0; i < 4; i++)
		to[i] = (char) (value >> (24 - 8 * i) & 0xff);
}

/* Makes a call that has no answer, with the next one that has. */
void
session_tell(SnRelayCall call, const SnWireOut *request)
{
	char		number[4];
	const char *values[] = {number, request->len == 0 ? "" : request->data};
	const int	lengths[] = {4, (int) request->len};
	const int	formats[] = {1, 1};

	if (request->failed || request->len > INT32_MAX)
	{
		log_line(LOG_ERROR, "out of memory", LOG_END);
		exit(EX_OSERR);
	}
	put_int4(number, (uint32_t) call);
	queue("call", 2, values, lengths, formats, 1);
}

/* The same, and its answer is what the next await_results() keeps. */
static void
queue_wanted(SnRelayCall call, const SnWireOut *request)
{
	wanted = ncommands;
	session_tell(call, request);
}

/* The answer that a result is. */
static SnWireIn
answer_of(const PGresult *result)
{
	const char *bytes = PQgetvalue(result, 0, 0);

	return (SnWireIn) {bytes, bytes + PQgetlength(result, 0, 0), false};
}

/* Makes a call.  The answer holds until the next one. */
SnWireIn
session_call(SnRelayCall call, const SnWireOut *request)
{
	queue_wanted(call, request);
	send_queued();
	await_results();
	return answer_of(last);
}

/* Queues relay_wait(), behind the end of a transaction. */
static void
queue_wait(bool durable, uint64_t lanes, int milliseconds)
{
	char		ms[16];
	char		bits[32];
	const char *params[] = {durable ? "t" : "f", ms, bits};

	snprintf(ms, sizeof(ms), "%d", milliseconds);
	snprintf(bits, sizeof(bits), "%lld", (long long) lanes);
	queue("wait", 3, params, NULL, NULL, 0);
	send_queued();
}

/* Queues the end of the transaction. */
static void
queue_commit(void)
{
	queue("commit", 0, NULL, NULL, NULL, 0);
	send_queued();
	in_transaction = false;
}

/*
 * Makes the last call of a transaction: ends that, too, and waits until what
 * was read cannot be lost, all in one round trip.  The answer holds until the
 * next one of this kind.
 */
SnWireIn
session_last_call(SnRelayCall call, const SnWireOut *request)
{
	queue_wanted(call, request);
	queue_commit();
	queue_wait(true, 0, 0);
	await_results();
	forget(&kept);
	kept = last;
	last = NULL;
	return answer_of(kept);
}

/* Ends the transaction, if no last call did; durable: as that. */
void
session_commit(bool durable)
{
	if (!in_transaction)
		return;
	queue_commit();
	if (durable)
		queue_wait(true, 0, 0);
	await_results();
}

/* Waits for input of some descriptors, or a signal; false: nothing came. */
static bool
wait_for_input(struct pollfd *fds, nfds_t n, int milliseconds)
{
	struct timespec timeout = {milliseconds / 1000,
	milliseconds % 1000 * 1000000L};
	sigset_t	none;
	int			ready;

	sigemptyset(&none);
	if (session_stop)
		return true;
	ready = ppoll(fds, n, &timeout, &none);
	return ready != 0;
}

/*
 * Sleeps until one of the lanes may have events, the relay was changed, the
 * broker has answers (broker_fd -1: whatever that has), a signal came, or the
 * time is over.  Returns the lanes that may have events; *by_server: it was the
 * server that ended the sleep.
 */
uint64_t
session_sleep(uint64_t lanes, int milliseconds, int broker_fd,
			  bool *by_server)
{
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};

	wanted = ncommands;
	queue_wait(false, lanes, milliseconds);
	fds[0].fd = PQsocket(conn);
	fds[1].fd = broker_fd;
	if (!wait_for_input(fds, broker_fd < 0 ? 1 : 2, milliseconds + SLACK_MS))
		fail("the server does not answer", NULL);
	*by_server = fds[0].revents != 0;
	if (session_stop || !*by_server)
		send_queued();
	await_results();
	return (uint64_t) strtoll(PQgetvalue(last, 0, 0), NULL, 10);
}

/*
 * Sleeps until the broker has answers, a signal came, or the time is over: what
 * the sequencer has done is of no use yet, and so the server is left alone.
 */
void
session_rest(int milliseconds, int broker_fd)
{
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};

	fds[0].fd = PQsocket(conn);
	fds[1].fd = broker_fd;
	(void) wait_for_input(fds, 2, milliseconds);
	if (fds[0].revents != 0)
		need(PQconsumeInput(conn));
}

/* Sleeps without the server, unless a signal came. */
void
session_pause(int milliseconds)
{
	(void) wait_for_input(NULL, 0, milliseconds);
}
