/*-------------------------------------------------------------------------
 *
 * drive.c
 *	  The load of the benchmark: publishers, agents, a ticker and a reader of
 *	  Kafka as threads of one process, so that one clock serves all.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * Prints one JSON object: what each kind of thread did between the end of the
 * warm-up and the end, how long its calls took, and, with --latency, how
 * long events took from the return of COMMIT to the hand of an agent.
 *
 *-------------------------------------------------------------------------
 */
#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

#define DRAIN_SECONDS	10		/* wait that long for the last events */
#define NS	INT64_C(1000000000)

Plan		plan = {
	.seconds = 5, .per_call = 1, .keys = 10000, .tenants = 50,
	.finish_with = 't', .tick_ms = 100, .poll_ms = 10
};

static pthread_t threads[MAX_THREADS];
static Tally tallies[MAX_THREADS];
static int	num_threads;

/* What an option sets: a text, a number, an integer or a switch. */
typedef struct Setting
{
	const char *name;
	char		type;			/* s, d, i, l, b */
	void	   *value;
} Setting;

static const Setting settings[] = {
	{"seconds", 'd', &plan.seconds},
	{"warmup", 'd', &plan.warmup},
	{"publishers", 'i', &plan.publishers},
	{"publish", 's', &plan.publish},
	{"copy-row", 's', &plan.copy_row},
	{"per-call", 'i', &plan.per_call},
	{"arrays", 'b', &plan.arrays},
	{"key-array", 'b', &plan.key_array},
	{"turns", 'i', &plan.turns},
	{"rate", 'd', &plan.rate},
	{"max-calls", 'l', &plan.max_calls},
	{"keys", 'i', &plan.keys},
	{"tenants", 'i', &plan.tenants},
	{"agents", 'i', &plan.agents},
	{"open", 's', &plan.open},
	{"claim", 's', &plan.claim},
	{"finish", 's', &plan.finish},
	{"finish-with", 'c', &plan.finish_with},
	{"wait", 's', &plan.wait},
	{"poll-ms", 'i', &plan.poll_ms},
	{"pipeline", 'b', &plan.pipeline},
	{"stop-empty", 'b', &plan.stop_empty},
	{"stop-after", 'l', &plan.stop_after},
	{"work-us", 'd', &plan.work_us},
	{"tick", 's', &plan.tick},
	{"tick-ms", 'i', &plan.tick_ms},
	{"kafka", 's', &plan.kafka},
	{"topic", 's', &plan.topic},
	{"latency", 'b', &plan.latency},
	{"commits", 's', &plan.commits},
	{"ways", 's', &plan.ways},
};

#define NUM_SETTINGS	((int) (sizeof(settings) / sizeof(settings[0])))

static void
apply_setting(const Setting *setting, char *text)
{
	switch (setting->type)
	{
		case 's':
			*(const char **) setting->value = text;
			break;
		case 'd':
			*(double *) setting->value = atof(text);
			break;
		case 'i':
			*(int *) setting->value = atoi(text);
			break;
		case 'l':
			*(long *) setting->value = atol(text);
			break;
		case 'c':
			*(char *) setting->value = text[0];
			break;
		default:
			*(bool *) setting->value = true;
			break;
	}
}

/* Options from the table above. */
static void
read_options(int argc, char **argv)
{
	struct option options[NUM_SETTINGS + 1] = {{0}};
	int			which;

	for (int i = 0; i < NUM_SETTINGS; i++)
	{
		options[i].name = settings[i].name;
		options[i].has_arg = settings[i].type != 'b';
		options[i].val = i + 1;
	}
	while ((which = getopt_long(argc, argv, "", options, NULL)) > 0 &&
		   which <= NUM_SETTINGS)
		apply_setting(&settings[which - 1], optarg);
	if (which != -1 || optind != argc)
		die("usage", "see the table of settings in drive.c");
	if (plan.per_call < 1 || plan.keys < 1 || plan.tenants < 1)
		die("usage", "per-call, keys and tenants are 1 or more");
}

/* Start some threads of one kind. */
static void
start(int count, void *(*body) (void *))
{
	for (int i = 0; i < count; i++)
	{
		if (num_threads == MAX_THREADS)
			die("threads", "too many");
		if (pthread_create(&threads[num_threads], NULL, body,
						   &tallies[num_threads]) != 0)
			die("threads", "could not start one");
		num_threads++;
	}
}

static void
join(int first, int count)
{
	for (int i = first; i < first + count; i++)
		pthread_join(threads[i], NULL);
}

/* Room for the times of every event that can be published. */
static void
make_room(void)
{
	double		rate = plan.rate > 0 ? plan.rate : 400000.0 / plan.per_call;

	if (!plan.latency)
		return;
	max_events = (int64_t) (rate * plan.per_call *
							(plan.seconds + plan.warmup + 2));
	committed_at = calloc(max_events, sizeof(int64_t));
	seen_at = calloc(max_events, sizeof(int64_t));
	called_at = calloc(max_events, sizeof(int64_t));
	if (committed_at == NULL || seen_at == NULL || called_at == NULL)
		die("latency", "out of memory");
}

/* After the last COMMIT, give the events on their way time to arrive. */
static void
drain(void)
{
	int64_t		limit = now_ns() + DRAIN_SECONDS * NS;

	while (all_claimed < next_seq && now_ns() < limit)
		sleep_until(now_ns() + NS / 100);
}

/* No publishers: the run ends with its time or with the agents. */
static void
wait_for_agents(void)
{
	while (agents_running > 0 && now_ns() < until_ns)
		sleep_until(now_ns() + NS / 1000);
}

/* One kind of thread as a JSON member. */
static void
print_tally(const char *name, int first, int count, double seconds)
{
	Tally		sum = {0};

	for (int i = first; i < first + count; i++)
	{
		sum.calls += tallies[i].calls;
		sum.events += tallies[i].events;
		sum.empty += tallies[i].empty;
		samples_join(&sum.times, &tallies[i].times);
	}
	printf("\"%s\": {\"threads\": %d, \"calls\": %ld, \"events\": %ld, "
		   "\"empty\": %ld, \"seconds\": %.6f, \"per_s\": %.1f, ",
		   name, count, sum.calls, sum.events, sum.empty, seconds,
		   seconds > 0 ? sum.events / seconds : 0);
	samples_print(stdout, "times", &sum.times);
	printf("}, ");
}

/* From COMMIT to the hand, of the events committed while it counted. */
static void
print_latency(void)
{
	Samples		way = {0};
	long		early = 0;
	long		lost = 0;
	int64_t		last = next_seq < max_events ? next_seq : max_events;

	for (int64_t i = 0; i < last; i++)
	{
		if (committed_at[i] == 0 || !measuring(committed_at[i]))
			continue;
		if (seen_at[i] == 0)
			lost++;
		else if (seen_at[i] < committed_at[i])
		{
			early++;			/* in hand before COMMIT had returned */
			samples_add(&way, 0);
		}
		else
			samples_add(&way, seen_at[i] - committed_at[i]);
	}
	printf("\"unseen\": %ld, \"before_commit_returned\": %ld, ", lost, early);
	samples_print(stdout, "latency", &way);
	printf(", ");
}

/* Number and time of COMMIT of every event, for consumers elsewhere. */
static void
write_commits(void)
{
	FILE	   *file = fopen(plan.commits, "w");

	if (file == NULL)
		die(plan.commits, "could not open");
	for (int64_t i = 0; i < next_seq && i < max_events; i++)
		if (committed_at[i] != 0 && measuring(committed_at[i]))
			fprintf(file, "%lld %lld\n", (long long) i,
					(long long) committed_at[i]);
	if (fclose(file) != 0)
		die(plan.commits, "could not write");
}

/* What to add to our times for the server's, which are seconds since 1970. */
static int64_t
to_wall_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t) t.tv_sec * NS + t.tv_nsec - now_ns();
}

/*
 * A line for each claim: when it was called; and one for each event: its number,
 * COMMIT, the call of the claim that brought it, and its arrival.
 */
static void
write_ways(void)
{
	FILE	   *file = fopen(plan.ways, "w");
	int64_t		ahead = to_wall_clock();

	if (file == NULL)
		die(plan.ways, "could not open");
	for (int i = 0; i < num_threads; i++)
		for (long k = 0; k < tallies[i].begins.count; k++)
			fprintf(file, "%lld\n",
					(long long) (tallies[i].begins.value[k] + ahead));
	for (int64_t i = 0; i < next_seq && i < max_events; i++)
		if (measuring(committed_at[i]) && seen_at[i] != 0)
			fprintf(file, "%lld %lld %lld %lld\n", (long long) i,
					(long long) (committed_at[i] + ahead),
					(long long) (called_at[i] + ahead),
					(long long) (seen_at[i] + ahead));
	if (fclose(file) != 0)
		die(plan.ways, "could not write");
}

/* Processor seconds of this process. */
static double
own_cpu(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
		(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int
main(int argc, char **argv)
{
	int			readers;
	int			first;
	int64_t		end;

	read_options(argc, argv);
	make_room();
	readers = plan.kafka != NULL;
	agents_running = plan.agents;

	/* The reader needs a moment to find the ends of the partitions. */
	start_ns = now_ns();
	start(readers, reader_main);
	if (readers)
		sleep_until(now_ns() + NS);
	start_ns = now_ns();
	from_ns = start_ns + (int64_t) (plan.warmup * NS);
	until_ns = from_ns + (int64_t) (plan.seconds * NS);
	start(plan.agents, agent_main);
	start(plan.tick != NULL, ticker_main);
	start(plan.publishers, plan.copy_row ? copier_main : publisher_main);

	first = num_threads - plan.publishers;
	if (plan.publishers > 0)
	{
		join(first, plan.publishers);
		end = now_ns();
		if (plan.latency && plan.agents + readers > 0)
			drain();
	}
	else
	{
		wait_for_agents();
		end = now_ns();
	}
	stopping = true;
	join(0, first);

	printf("{");
	if (plan.publishers > 0)
		print_tally("publish", first, plan.publishers,
					((end < until_ns ? end : until_ns) - from_ns) / 1e9);
	if (plan.agents > 0)
		print_tally("work", readers, plan.agents,
					((last_claimed && last_claimed < until_ns ?
					  last_claimed : until_ns) - from_ns) / 1e9);
	if (plan.latency)
		print_latency();
	if (plan.commits != NULL)
		write_commits();
	if (plan.ways != NULL)
		write_ways();
	printf("\"read\": %ld, \"claimed\": %ld, \"published\": %lld, "
		   "\"cpu_s\": %.3f}\n",
		   readers ? tallies[0].events : 0, (long) all_claimed,
		   (long long) next_seq, own_cpu());
	return 0;
}
