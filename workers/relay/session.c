/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * session.c
 *	  The session in the server that works for a sentinai-relay.
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

/* Runs a statement without result. */
static void
command(const char *statement)
{
	expect(PQexec(conn, statement), PGRES_COMMAND_OK, "statement failed");
}

/* Connects. */
void
session_connect(const Tool *tool)
{
	conn = tool_connect(tool);
	if (PQstatus(conn) != CONNECTION_OK)
		fail("cannot connect", NULL);
	command("set statement_timeout = 0");
	command("set idle_in_transaction_session_timeout = 0");
	expect(PQprepare(conn, "call", "select sentinai.relay_call($1, $2)", 0,
					 NULL), PGRES_COMMAND_OK, "cannot work for a relay");
	expect(PQprepare(conn, "wait",
					 "call sentinai.relay_wait($1, $2, $3, null)", 0, NULL),
		   PGRES_COMMAND_OK, "cannot work for a relay");
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

/* Begins the transaction of a turn. */
void
session_begin(void)
{
	command("begin");
}

/* Ends it. */
void
session_commit(void)
{
	command("commit");
}

/* Writes a number as the server reads it. */
static void
put_int4(char *to, uint32_t value)
{
	int			i;

	for (i = 0; i < 4; i++)
		to[i] = (char) (value >> (24 - 8 * i) & 0xff);
}

/*
 * Makes a call.  The answer holds until the next one, or until session_keep()
 * and what follows that.
 */
void
session_call(SnRelayCall call, const SnWireOut *request, SnWireIn *answer)
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
	expect(PQexecPrepared(conn, "call", 2, values, lengths, formats, 1),
		   PGRES_TUPLES_OK, "the server refuses a step of the relay");
	answer->at = PQgetvalue(last, 0, 0);
	answer->end = answer->at + PQgetlength(last, 0, 0);
	answer->failed = false;
}

/* Keeps the answer of the last call until the next one that is kept. */
void
session_keep(void)
{
	forget(&kept);
	kept = last;
	last = NULL;
}

/* Sends relay_wait(). */
static void
send_wait(bool durable, uint64_t lanes, int milliseconds)
{
	char		ms[16];
	char		bits[32];
	const char *params[] = {durable ? "t" : "f", ms, bits};

	snprintf(ms, sizeof(ms), "%d", milliseconds);
	snprintf(bits, sizeof(bits), "%lld", (long long) lanes);
	if (!PQenterPipelineMode(conn) ||
		!PQsendQueryPrepared(conn, "wait", 3, params, NULL, NULL, 0) ||
		!PQpipelineSync(conn))
		fail("connection lost", NULL);
}

/* Takes all there is to come after so many Syncs; returns lanes waiting. */
static uint64_t
end_wait(int syncs)
{
	uint64_t	waiting = 0;

	while (syncs > 0)
	{
		PGresult   *result = PQgetResult(conn);

		if (result == NULL)
		{
			if (PQstatus(conn) != CONNECTION_OK)
				fail("connection lost", NULL);
			continue;
		}
		forget(&last);
		last = result;
		switch (PQresultStatus(result))
		{
			case PGRES_PIPELINE_SYNC:
				syncs--;
				break;
			case PGRES_TUPLES_OK:
				waiting = (uint64_t) strtoll(PQgetvalue(result, 0, 0), NULL, 10);
				break;
			default:
				fail("the relay cannot wait", result);
		}
	}
	if (!PQexitPipelineMode(conn))
		fail("connection lost", NULL);
	return waiting;
}

/* Waits until what was read last cannot be lost. */
void
session_durable(void)
{
	send_wait(true, 0, 0);
	(void) end_wait(1);
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
 * time is over.  Returns the lanes that may have events.
 */
uint64_t
session_sleep(uint64_t lanes, int milliseconds, int broker_fd)
{
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
	int			syncs = 1;

	send_wait(false, lanes, milliseconds);
	fds[0].fd = PQsocket(conn);
	fds[1].fd = broker_fd;
	if (!wait_for_input(fds, broker_fd < 0 ? 1 : 2, milliseconds + SLACK_MS))
		fail("the server does not answer", NULL);
	if (session_stop || fds[0].revents == 0)
	{
		if (!PQpipelineSync(conn))
			fail("connection lost", NULL);
		syncs++;
	}
	return end_wait(syncs);
}

/* Sleeps without the server, unless a signal came. */
void
session_pause(int milliseconds)
{
	(void) wait_for_input(NULL, 0, milliseconds);
}
