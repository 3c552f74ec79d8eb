/*-------------------------------------------------------------------------
 *
 * common.c
 *	  Clock, payload, connections and samples of the load programs.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

/* The state of a run; see bench.h. */
_Atomic bool stopping;
int64_t		start_ns;
int64_t		from_ns;
int64_t		until_ns;
int64_t    *committed_at;
int64_t    *seen_at;
int64_t    *called_at;
int64_t		max_events;
_Atomic int64_t next_seq;
_Atomic long all_claimed;
_Atomic int64_t last_claimed;
_Atomic int agents_running;

/* Say what went wrong and end. */
void
die(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(1);
}

/* Now. */
int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Sleep until that time; not at all when it has passed. */
void
sleep_until(int64_t when)
{
	struct timespec t = {.tv_sec = when / 1000000000,
		.tv_nsec = when % 1000000000};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* Does that time count? */
bool
measuring(int64_t when)
{
	return when >= from_ns && when < until_ns;
}

/* A JSON object of PAYLOAD_LEN bytes that carries its number. */
void
make_payload(char *payload, int64_t seq)
{
	static const char text[] =
		"carrier did not answer within the agreed time, the shipment waits at "
		"the hub and the customer has been told; next check by the night desk";
	int			len;

	len = snprintf(payload, PAYLOAD_LEN + 1,
				   "{\"seq\": %lld, \"kind\": \"delay\", \"minutes\": %d, "
				   "\"note\": \"%s\", \"pad\": \"",
				   (long long) (FIRST_SEQ + seq), 100 + (int) (seq % 900),
				   text);
	memset(payload + len, 'x', PAYLOAD_LEN - len - 2);
	memcpy(payload + PAYLOAD_LEN - 2, "\"}", 3);
}

/* The number in a payload, -1 when there is none. */
int64_t
find_seq(const char *payload, int len)
{
	const char *at = memmem(payload, len, "\"seq\":", 6);

	if (at == NULL)
		return -1;
	return strtoll(at + 6, NULL, 10) - FIRST_SEQ;
}

/* Note when an event arrived, and who asked when; the first time counts. */
void
note_seen(const char *payload, int len, int64_t called, int64_t when)
{
	int64_t		seq = find_seq(payload, len);

	if (seq < 0 || seq >= max_events || seen_at[seq] != 0)
		return;
	seen_at[seq] = when;
	called_at[seq] = called;
}

/* A connection to the database that PG* name. */
PGconn *
connect_db(void)
{
	PGconn	   *conn = PQconnectdb("application_name=bench");

	if (PQstatus(conn) != CONNECTION_OK)
		die("could not connect", PQerrorMessage(conn));
	run_sql(conn, "set client_min_messages = warning");
	return conn;
}

/* Run a statement whose result does not matter. */
void
run_sql(PGconn *conn, const char *sql)
{
	PGresult   *res = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(res);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		die(sql, PQerrorMessage(conn));
	PQclear(res);
}

/* Prepare a statement. */
void
prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult   *res = PQprepare(conn, name, sql, 0, NULL);

	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die(sql, PQerrorMessage(conn));
	PQclear(res);
}

/* Add one duration. */
void
samples_add(Samples *samples, int64_t value)
{
	if (samples->count == samples->size)
	{
		samples->size = samples->size == 0 ? 4096 : samples->size * 2;
		samples->value = realloc(samples->value,
								 samples->size * sizeof(int64_t));
		if (samples->value == NULL)
			die("samples", "out of memory");
	}
	samples->value[samples->count++] = value;
}

/* Add all of another list. */
void
samples_join(Samples *into, const Samples *from)
{
	for (long i = 0; i < from->count; i++)
		samples_add(into, from->value[i]);
}

static int
compare(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

/* The list as a JSON member: percentiles in milliseconds, and a curve. */
void
samples_print(FILE *file, const char *name, Samples *samples)
{
	static const double points[] = {
		0, .01, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95, .98, .99, .995,
		.999, .9999, 1
	};
	int			last = sizeof(points) / sizeof(points[0]) - 1;

	qsort(samples->value, samples->count, sizeof(int64_t), compare);
	fprintf(file, "\"%s\": {\"count\": %ld", name, samples->count);
	if (samples->count > 0)
	{
		fprintf(file, ", \"curve\": [");
		for (int i = 0; i <= last; i++)
			fprintf(file, "%s[%g, %.4f]", i == 0 ? "" : ", ", points[i],
					samples->value[(long) (points[i] *
										   (samples->count - 1))] / 1e6);
		fprintf(file, "]");
	}
	fprintf(file, "}");
}
