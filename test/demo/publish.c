/*-------------------------------------------------------------------------
 *
 * publish.c
 *	  One publisher of the quickstart: replays its share of a day of events.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * Every transaction writes the application's table and publishes, one to five
 * events.  One transaction in ten is rolled back first, one in ten rolls
 * back to a savepoint; both then do the same work again and commit.  The
 * share is by key, so the order of the file is the commit order of each key.
 *
 * Notes, one line per publish: run, line of the file, event id, key, what
 * became of it, and when COMMIT was sent (microseconds).
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "base/hash.h"

#define MAX_GROUP	5
#define UUID_LEN	36

enum Column
{
	COL_TS, COL_TENANT, COL_AGGREGATE, COL_TYPE,
	COL_FLIGHT, COL_ORIGIN, COL_DEST, COL_MINUTES,
	NUM_COLUMNS
};

typedef struct Row
{
	int			seq;			/* line of the file: grows within a key */
	char		key[128];
	char	   *column[NUM_COLUMNS];
} Row;

static const char publish_sql[] =
"with e as (select sentinai.publish($4, $2, $3,"
"  jsonb_build_object('flight', $5::text, 'origin', $6::text,"
"    'dest', $7::text, 'minutes', $8::int, 'at', $1::timestamptz),"
"  aggregate_type => 'aircraft',"
"  metadata => jsonb_build_object('run', $9::int, 'seq', $10::int)) as id) "
"insert into demo.movement (run, seq, flight, what, event_id)"
"  select $9, $10, $5, $4, id from e returning event_id";

static PGconn *conn;
static FILE *notes;
static const char *run;

/* Say what went wrong and end. */
static void
die(const char *what, const char *why)
{
	fprintf(stderr, "publish: %s: %s\n", what, why);
	exit(1);
}

/* Microseconds since 1970. */
static long long
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (long long) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Split a line in its columns; false when they are not that many. */
static bool
split(char *line, char **column)
{
	line[strcspn(line, "\n")] = '\0';
	for (int i = 0; i < NUM_COLUMNS; i++)
	{
		column[i] = strsep(&line, "\t");
		if (column[i] == NULL)
			return false;
	}
	return line == NULL;
}

/* Read the rows of share number `share` of `shares`. */
static int
read_rows(const char *path, int share, int shares, Row **rows)
{
	FILE	   *file = fopen(path, "r");
	char	   *line = NULL;
	size_t		size = 0;
	int			count = 0;

	if (file == NULL)
		die(path, strerror(errno));
	for (int seq = 0; getline(&line, &size, file) > 0; seq++)
	{
		Row			row = {.seq = seq};
		char	   *copy;

		if (seq == 0)
			continue;			/* the head line */
		copy = strdup(line);
		if (copy == NULL || !split(copy, row.column))
			die(path, "not the columns of a day of flights");
		snprintf(row.key, sizeof(row.key), "%s:%s",
				 row.column[COL_TENANT], row.column[COL_AGGREGATE]);
		if (sn_partition_for_hash(sn_murmur2(row.key, strlen(row.key)),
								  shares) != share)
			continue;
		*rows = realloc(*rows, (count + 1) * sizeof(Row));
		if (*rows == NULL)
			die(path, "out of memory");
		(*rows)[count++] = row;
	}
	free(line);
	fclose(file);
	return count;
}

/* Run a statement without parameters. */
static void
run_sql(const char *sql)
{
	PGresult   *res = PQexec(conn, sql);

	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die(sql, PQerrorMessage(conn));
	PQclear(res);
}

/* Publish one row and write the application's table; the event's id. */
static void
publish_row(const Row *row, char id[UUID_LEN + 1])
{
	const char *values[NUM_COLUMNS + 2];
	char		seq[16];
	PGresult   *res;

	memcpy(values, row->column, sizeof(row->column));
	if (strcmp(row->column[COL_MINUTES], "NA") == 0)
		values[COL_MINUTES] = NULL;
	snprintf(seq, sizeof(seq), "%d", row->seq);
	values[NUM_COLUMNS] = run;
	values[NUM_COLUMNS + 1] = seq;
	res = PQexecPrepared(conn, "publish", NUM_COLUMNS + 2, values,
						 NULL, NULL, 0);
	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1)
		die("could not publish", PQerrorMessage(conn));
	snprintf(id, UUID_LEN + 1, "%s", PQgetvalue(res, 0, 0));
	PQclear(res);
}

/* Note what became of a publish. */
static void
note(const Row *row, const char *id, const char *fate, long long when)
{
	fprintf(notes, "%s\t%d\t%s\t%s\t%s\t%lld\n",
			run, row->seq, id, row->key, fate, when);
}

/* One transaction over some rows. */
static void
run_transaction(const Row *rows, int count, bool commit, bool savepoint)
{
	char		ids[MAX_GROUP][UUID_LEN + 1];
	long long	when;

	run_sql("begin");
	if (savepoint)
	{
		run_sql("savepoint s");
		publish_row(&rows[0], ids[0]);
		run_sql("rollback to savepoint s");
		note(&rows[0], ids[0], "rolled back", 0);
	}
	for (int i = 0; i < count; i++)
		publish_row(&rows[i], ids[i]);
	when = now_us();
	run_sql(commit ? "commit" : "rollback");
	for (int i = 0; i < count; i++)
		note(&rows[i], ids[i], commit ? "committed" : "rolled back", when);
	fflush(notes);
}

/* Wait until the time at which that many events may have been published. */
static void
keep_pace(long long start, int published, double rate)
{
	long long	wait = start + (long long) (published / rate * 1e6) - now_us();

	if (wait > 0)
		usleep((useconds_t) wait);
}

/* Replay the rows in transactions of changing size. */
static void
replay(const Row *rows, int count, unsigned int seed, double rate)
{
	long long	start = now_us();
	int			done = 0;

	for (int number = 0; done < count; number++)
	{
		int			group = 1 + rand_r(&seed) % MAX_GROUP;

		if (group > count - done)
			group = count - done;
		if (number % 10 == 3)
			run_transaction(rows + done, group, false, false);
		run_transaction(rows + done, group, true, number % 10 == 7);
		done += group;
		keep_pace(start, done, rate);
	}
}

int
main(int argc, char **argv)
{
	Row		   *rows = NULL;
	PGresult   *res;
	int			count;

	if (argc != 7)
	{
		fprintf(stderr, "Usage: publish RUN DATA SHARE SHARES RATE NOTES\n"
				"Replays its share of DATA at RATE events/s; the connection "
				"comes from PG*.\n");
		return 2;
	}
	run = argv[1];
	count = read_rows(argv[2], atoi(argv[3]), atoi(argv[4]), &rows);
	notes = fopen(argv[6], "a");
	if (notes == NULL)
		die(argv[6], strerror(errno));

	conn = PQconnectdb("application_name=publisher");
	if (PQstatus(conn) != CONNECTION_OK)
		die("could not connect", PQerrorMessage(conn));
	res = PQprepare(conn, "publish", publish_sql, 0, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die("could not prepare", PQerrorMessage(conn));
	PQclear(res);

	replay(rows, count, (unsigned int) atoi(argv[3]) + 1, atof(argv[5]));
	PQfinish(conn);
	if (fclose(notes) != 0)
		die(argv[6], strerror(errno));
	return 0;
}
