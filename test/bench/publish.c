/*-------------------------------------------------------------------------
 *
 * publish.c
 *	  Threads that publish: one statement per call, arrays, or COPY.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * Every call is a transaction of its own.  The events of a call get
 * consecutive numbers; the time noted for them is the return of COMMIT.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define NAME_LEN	24

/* One publisher's tools. */
typedef struct Publisher
{
	PGconn	   *conn;
	Tally	   *tally;
	unsigned int seed;
	int			nparams;
	char	   *payload;		/* a payload, or an array of them */
	char	   *aggregate;		/* likewise */
	char	   *tenant;			/* likewise */
} Publisher;

/* How many parameters a statement has. */
static int
count_params(const char *sql)
{
	int			most = 0;

	for (const char *at = sql; (at = strchr(at, '$')) != NULL; at++)
	{
		int			number = atoi(at + 1);

		if (number > most)
			most = number;
	}
	return most;
}

static void
pick_aggregate(Publisher *p, char *name)
{
	snprintf(name, NAME_LEN, "A%d", rand_r(&p->seed) % plan.keys);
}

static void
pick_tenant(Publisher *p)
{
	snprintf(p->tenant, NAME_LEN, "T%d", rand_r(&p->seed) % plan.tenants);
}

/* Write the payloads of one call as an array. */
static void
fill_payloads(char *to, int64_t seq)
{
	char		payload[PAYLOAD_LEN + 1];

	for (int i = 0; i < plan.per_call; i++)
	{
		*to++ = i == 0 ? '{' : ',';
		*to++ = '"';
		make_payload(payload, seq + i);
		for (const char *from = payload; *from != '\0'; from++)
		{
			if (*from == '"')
				*to++ = '\\';
			*to++ = *from;
		}
		*to++ = '"';
	}
	strcpy(to, "}");
}

/* Fill the parameters of one call. */
static void
fill_params(Publisher *p, int64_t seq)
{
	char		name[NAME_LEN];
	char	   *key = p->aggregate;
	char	   *tenant = p->tenant;

	pick_tenant(p);
	pick_aggregate(p, key);
	if (plan.arrays)
		fill_payloads(p->payload, seq);
	else
		make_payload(p->payload, seq);
	if (!plan.arrays && !plan.key_array)
		return;
	for (int i = 0; i < plan.per_call; i++)
	{
		pick_aggregate(p, name);
		key += sprintf(key, "%c%s", i == 0 ? '{' : ',', name);
		if (plan.turns > 0)
			tenant += sprintf(tenant, "%cT%d", i == 0 ? '{' : ',',
							  i % plan.turns);
	}
	strcpy(key, "}");
	if (plan.turns > 0)
		strcpy(tenant, "}");
}

/* Wait for this publisher's next turn; false when the run is over. */
static bool
next_turn(int64_t *turn)
{
	if (plan.rate > 0)
	{
		*turn += (int64_t) (1e9 * plan.publishers / plan.rate);
		if (*turn >= until_ns)
			return false;
		sleep_until(*turn);
	}
	return !stopping && now_ns() < until_ns &&
		(plan.max_calls == 0 || next_seq < plan.max_calls * plan.per_call);
}

/* Note what one call took and when its events were committed. */
static void
note_call(Publisher *p, int64_t seq, int64_t begin, int64_t end)
{
	if (plan.latency)
		for (int i = 0; i < plan.per_call && seq + i < max_events; i++)
			committed_at[seq + i] = end;
	if (!measuring(end))
		return;
	p->tally->calls++;
	p->tally->events += plan.per_call;
	samples_add(&p->tally->times, end - begin);
}

static void
open_publisher(Publisher *p, Tally *tally)
{
	static _Atomic unsigned int seed = 1;
	size_t		room = plan.per_call;

	memset(p, 0, sizeof(*p));
	p->tally = tally;
	p->seed = seed++;
	p->payload = malloc(room * (PAYLOAD_LEN + 40) + 4);
	p->aggregate = malloc(room * NAME_LEN + 4);
	p->tenant = malloc(room * NAME_LEN + 4);
	if (p->payload == NULL || p->aggregate == NULL || p->tenant == NULL)
		die("publisher", "out of memory");
	p->conn = connect_db();
}

/* Publish with one statement per call. */
void *
publisher_main(void *tally)
{
	Publisher	p;
	int64_t		turn = start_ns;

	open_publisher(&p, tally);
	prepare(p.conn, "publish", plan.publish);
	p.nparams = count_params(plan.publish);
	turn += (int64_t) (1e9 / (plan.rate > 0 ? plan.rate : 1e9) *
					   (p.seed % plan.publishers));
	while (next_turn(&turn))
	{
		int64_t		seq = atomic_fetch_add(&next_seq, plan.per_call);
		const char *values[3] = {p.payload, p.aggregate, p.tenant};
		int64_t		begin;
		PGresult   *res;

		fill_params(&p, seq);
		begin = now_ns();
		res = PQexecPrepared(p.conn, "publish", p.nparams, values,
							 NULL, NULL, 0);
		if (PQresultStatus(res) != PGRES_TUPLES_OK &&
			PQresultStatus(res) != PGRES_COMMAND_OK)
			die(plan.publish, PQerrorMessage(p.conn));
		note_call(&p, seq, begin, now_ns());
		PQclear(res);
	}
	PQfinish(p.conn);
	return NULL;
}

/* Send one row of COPY. */
static void
put_row(Publisher *p, int64_t seq)
{
	char		row[PAYLOAD_LEN * 2];
	char	   *to = row;

	make_payload(p->payload, seq);
	pick_aggregate(p, p->aggregate);
	for (const char *from = plan.copy_row; *from != '\0'; from++)
	{
		if (*from != '%')
			*to++ = *from;
		else if (*++from == 'p')
			to = stpcpy(to, p->payload);
		else if (*from == 'a')
			to = stpcpy(to, p->aggregate);
		else
			to = stpcpy(to, p->tenant);
	}
	*to++ = '\n';
	if (PQputCopyData(p->conn, row, (int) (to - row)) != 1)
		die("could not send a row", PQerrorMessage(p->conn));
}

/* Publish with COPY. */
void *
copier_main(void *tally)
{
	Publisher	p;
	int64_t		turn = start_ns;

	open_publisher(&p, tally);
	while (next_turn(&turn))
	{
		int64_t		seq = atomic_fetch_add(&next_seq, plan.per_call);
		int64_t		begin = now_ns();
		PGresult   *res = PQexec(p.conn, plan.publish);

		if (PQresultStatus(res) != PGRES_COPY_IN)
			die(plan.publish, PQerrorMessage(p.conn));
		PQclear(res);
		pick_tenant(&p);
		for (int i = 0; i < plan.per_call; i++)
		{
			if (plan.turns > 0)
				snprintf(p.tenant, NAME_LEN, "T%d", i % plan.turns);
			put_row(&p, seq + i);
		}
		if (PQputCopyEnd(p.conn, NULL) != 1)
			die("could not end COPY", PQerrorMessage(p.conn));
		while ((res = PQgetResult(p.conn)) != NULL)
		{
			if (PQresultStatus(res) != PGRES_COMMAND_OK)
				die(plan.publish, PQerrorMessage(p.conn));
			PQclear(res);
		}
		note_call(&p, seq, begin, now_ns());
	}
	PQfinish(p.conn);
	return NULL;
}
