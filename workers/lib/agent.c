/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * agent.c
 *	  The agent's main thread: starts, watches and stops the others.
 *
 * Signals are blocked in every thread; the main thread takes them with
 * sigtimedwait().  A thread that ends sends SIGUSR2 to the main thread.
 *
 * Stopping: the first SIGTERM, SIGINT or SIGHUP lets the workers go on with
 * the batches they have for half of the shutdown timeout; then they finish
 * the event they are at and give back the rest.  Near the end of the timeout,
 * or at a second signal, they give back everything that is not finished.  A
 * handler that does not return even then is left behind with its batch, whose
 * lease has to run out; nobody else may have its event while it still works.
 *
 * A worker that gives up stops the others in the same way.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "health.h"
#include "http.h"
#include "log.h"
#include "value.h"
#include "worker.h"

/* Time for the workers to give back their batches, and then for the keeper. */
#define FORCE_TIMEOUT (4 * SECOND)
#define KEEPER_TIMEOUT (2 * SECOND)

/* So much of the shutdown timeout is for that, but not more than a quarter. */
#define FORCE_RESERVE (FORCE_TIMEOUT + KEEPER_TIMEOUT)

/* A worker that is stuck connecting holds nothing; it gets this long. */
#define CONNECT_GRACE (1 * SECOND)

/* Signals this close together are one: wrappers pass on what they get. */
#define SIGNAL_ECHO 500

#define SIGNAL_THREAD_ENDED SIGUSR2

#ifndef SENTINAI_VERSION
#define SENTINAI_VERSION "unknown"
#endif

typedef struct Supervisor
{
	Agent	   *agent;
	Worker	   *workers;
	int			count;
	Keeper	   *keeper;
	Health		health;
	HttpServer *http;			/* or NULL */
	sigset_t	signals;
	long long	deadline;		/* of the current stop level */
	long long	signaled;		/* when the first signal came */
	long long	abandon_after;	/* when a connecting worker may be left */
	long long	next_stats;
	long long	reported[COUNT_KINDS];
} Supervisor;

static pthread_t main_thread;

static const char *const count_names[COUNT_KINDS] = {
	"claimed", "completed", "retried", "dead", "released", "dropped",
	"reconnects", "batches", "lost", "unreadable"
};

/* Wakes the main thread, because a thread has ended. */
static void
wake_main_thread(void)
{
	pthread_kill(main_thread, SIGNAL_THREAD_ENDED);
}

/* Says on a handler's connection which event it works on. */
bool
agent_work_on(const AgentEvent *event, struct pg_conn *conn)
{
	PGresult   *result = PQexecParams(conn, "select sentinai.work_on($1::uuid)",
									  1, NULL, &event->event_id, NULL, NULL, 0);
	bool		done = PQresultStatus(result) == PGRES_TUPLES_OK;

	PQclear(result);
	return done;
}

/* A count of all workers. */
static long long
count_of(const Supervisor *supervisor, Count kind)
{
	long long	sum = 0;
	int			i;

	for (i = 0; i < supervisor->count; i++)
		sum += atomic_load(&supervisor->workers[i].counts[kind]);
	return sum;
}

/* Logs the counts since the last time, or all of them. */
static void
log_counts(Supervisor *supervisor, bool total)
{
	LogField	fields[COUNT_KINDS + 1];
	int			i;

	for (i = 0; i < COUNT_KINDS; i++)
	{
		long long	now = count_of(supervisor, (Count) i);

		fields[i] = LOG_N(count_names[i],
						  total ? now : now - supervisor->reported[i]);
		supervisor->reported[i] = now;
	}
	fields[COUNT_KINDS] = LOG_END;
	log_write(LOG_INFO, total ? "counts since the start" : "counts", fields);
}

/* Are all workers finished? */
static bool
all_finished(const Supervisor *supervisor)
{
	int			i;

	for (i = 0; i < supervisor->count; i++)
		if (!atomic_load(&supervisor->workers[i].finished))
			return false;
	return true;
}

/*
 * Are all unfinished workers stuck in a connection attempt?  With a batch one
 * may go on until all time is over.
 */
static bool
only_connecting(const Supervisor *supervisor)
{
	bool		is_over = stop_level(&supervisor->agent->stop) == STOP_NOW;
	int			i;

	for (i = 0; i < supervisor->count; i++)
	{
		int			state = atomic_load(&supervisor->workers[i].connecting);

		if (!atomic_load(&supervisor->workers[i].finished) &&
			state != CONNECTING &&
			!(state == CONNECTING_WITH_BATCH && is_over))
			return false;
	}
	return true;
}

/* Raises the stop level to "now". */
static void
force_stop(Supervisor *supervisor, const char *why)
{
	int			none = 0;

	log_line(LOG_WARNING, why, LOG_END);
	atomic_compare_exchange_strong(&supervisor->agent->status, &none,
								   EXIT_FORCED);
	stop_raise(&supervisor->agent->stop, STOP_NOW);
	supervisor->deadline = clock_ms() + FORCE_TIMEOUT;
}

/* Raises the stop level to "drain". */
static void
begin_stop(Supervisor *supervisor)
{
	Agent	   *agent = supervisor->agent;
	int			timeout = agent->settings->shutdown_timeout;
	int			reserve = timeout / 4;
	long long	now = clock_ms();

	if (reserve > FORCE_RESERVE)
		reserve = FORCE_RESERVE;
	log_line(LOG_INFO, "stopping", LOG_END);
	supervisor->signaled = now;
	atomic_store(&agent->start_until, now + timeout / 2);
	stop_raise(&agent->stop, STOP_DRAIN);
	supervisor->deadline = now + timeout - reserve;
	supervisor->abandon_after = now + CONNECT_GRACE;
}

/* Acts on a signal of the user's. */
static void
handle_signal(Supervisor *supervisor)
{
	switch (stop_level(&supervisor->agent->stop))
	{
		case STOP_NOT:
			begin_stop(supervisor);
			break;
		case STOP_DRAIN:
			if (clock_ms() - supervisor->signaled >= SIGNAL_ECHO)
				force_stop(supervisor, "second signal, releasing batches");
			break;
		case STOP_NOW:
			break;
	}
}

/* Milliseconds until something is due. */
static long long
time_left(const Supervisor *supervisor)
{
	long long	next = supervisor->deadline;

	if (supervisor->next_stats < next)
		next = supervisor->next_stats;
	if (supervisor->abandon_after != LLONG_MAX)
		next = clock_ms() + 100;
	return next - clock_ms();
}

/* Waits for a signal until something is due; 0 if none came. */
static int
wait_for_signal(const Supervisor *supervisor)
{
	long long	left = time_left(supervisor);
	struct timespec timeout = {0};
	int			signal;

	if (left > HOUR)
		left = HOUR;
	if (left > 0)
	{
		timeout.tv_sec = left / 1000;
		timeout.tv_nsec = (left % 1000) * 1000000L;
	}
	signal = sigtimedwait(&supervisor->signals, NULL, &timeout);
	return signal == -1 ? 0 : signal;
}

/* Watches until all workers have ended; false when some had to be left. */
static bool
supervise(Supervisor *supervisor)
{
	const Settings *settings = supervisor->agent->settings;

	for (;;)
	{
		int			signal = wait_for_signal(supervisor);
		long long	now = clock_ms();

		if (signal != 0 && signal != SIGNAL_THREAD_ENDED)
			handle_signal(supervisor);
		else if (atomic_load(&supervisor->agent->status) != 0 &&
				 stop_level(&supervisor->agent->stop) == STOP_NOT)
			begin_stop(supervisor);
		if (all_finished(supervisor))
			return true;
		if (now >= supervisor->next_stats)
		{
			log_counts(supervisor, false);
			supervisor->next_stats = now + settings->stats_interval;
		}
		if (now >= supervisor->abandon_after && only_connecting(supervisor))
			return false;
		if (now < supervisor->deadline)
			continue;
		if (stop_level(&supervisor->agent->stop) == STOP_NOW)
			return false;
		force_stop(supervisor, "no time left, releasing batches");
	}
}

/* Waits for the keeper to end; false when it does not in time. */
static bool
finish_keeper(Supervisor *supervisor, bool release)
{
	long long	end = clock_ms() + (release ? KEEPER_TIMEOUT : CONNECT_GRACE);

	keeper_finish(supervisor->keeper, release);
	while (!keeper_is_finished(supervisor->keeper) && clock_ms() < end)
	{
		struct timespec pause = {.tv_nsec = 10 * 1000000L};

		sigtimedwait(&supervisor->signals, NULL, &pause);
	}
	return keeper_is_finished(supervisor->keeper);
}

/* Sets what a signal does. */
static void
set_signal(int number, void (*action) (int))
{
	struct sigaction act = {.sa_handler = action};

	sigemptyset(&act.sa_mask);
	sigaction(number, &act, NULL);
}

/*
 * Frees the process of what it has inherited and cannot work with: without
 * SIGCHLD's default nobody learns how a command ended, and a descriptor that
 * is closed becomes that of the next file or connection, into which a log
 * line or a command's output would go.
 */
static void
reset_process(void)
{
	int			fd;

	set_signal(SIGCHLD, SIG_DFL);
	set_signal(SIGTERM, SIG_DFL);
	set_signal(SIGPIPE, SIG_IGN);
	set_signal(SIGXFSZ, SIG_IGN);
	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) == -1 && errno == EBADF &&
			open("/dev/null", O_RDWR) < 0)
			_exit(EXIT_SYSTEM);
}

/*
 * Blocks the signals we wait for and no others, in this thread and all it
 * will start.  SIGINT and SIGHUP may be ignored on purpose (by a shell's "&",
 * by nohup).
 */
static void
block_signals(sigset_t *signals)
{
	static const int stopping[] = {SIGTERM, SIGINT, SIGHUP};
	struct sigaction old;
	size_t		i;

	sigemptyset(signals);
	sigaddset(signals, SIGNAL_THREAD_ENDED);
	for (i = 0; i < sizeof(stopping) / sizeof(stopping[0]); i++)
		if (sigaction(stopping[i], NULL, &old) == 0 &&
			old.sa_handler != SIG_IGN)
			sigaddset(signals, stopping[i]);
	pthread_sigmask(SIG_SETMASK, signals, NULL);
}

/* Writes the name of this process, or of one of its threads. */
static void
name_worker(const Settings *settings, int number, char *buffer, size_t size)
{
	char		host[128] = "localhost";
	char		base[200];

	gethostname(host, sizeof(host) - 1);
	if (settings->worker_id != NULL)
		snprintf(base, sizeof(base), "%s", settings->worker_id);
	else
		snprintf(base, sizeof(base), "%s:%ld", host, (long) getpid());
	if (settings->concurrency > 1 && number > 0)
		snprintf(buffer, size, "%s/%d", base, number);
	else
		snprintf(buffer, size, "%s", base);
}

/* Makes the workers, without their threads. */
static bool
make_workers(Supervisor *supervisor, Lease *leases)
{
	Agent	   *agent = supervisor->agent;
	char		name[256];
	int			i;

	for (i = 0; i < supervisor->count; i++)
	{
		name_worker(agent->settings, i + 1, name, sizeof(name));
		if (!lease_init(&leases[i]) ||
			!worker_init(&supervisor->workers[i], agent, i + 1, name,
						 &leases[i]))
			return false;
	}
	return true;
}

/* Starts to answer over HTTP, if that is wanted; false when it cannot. */
static bool
start_http(Supervisor *supervisor)
{
	const char *address = supervisor->agent->settings->http;

	if (address == NULL)
		return true;
	supervisor->health = (Health) {
		supervisor->agent, supervisor->workers, supervisor->count, time(NULL)
	};
	supervisor->http = http_serve(address, health_answer,
								  &supervisor->health);
	return supervisor->http != NULL;
}

/* Where batches come from; NULL: from claim(). */
static const AgentSource *
source_of(const AgentDefinition *definition)
{
	return definition->source != NULL ?
		definition->source(definition->settings) : NULL;
}

/* Starts all threads. */
static bool
start_threads(Supervisor *supervisor, Lease *leases)
{
	Agent	   *agent = supervisor->agent;
	const AgentSource *source = source_of(agent->definition);
	char		name[256];
	int			i;

	name_worker(agent->settings, 0, name, sizeof(name));
	supervisor->keeper = keeper_start(agent->settings, agent->definition->name,
									  name, leases, supervisor->count,
									  wake_main_thread);
	if (supervisor->keeper == NULL)
		return false;
	for (i = 0; i < supervisor->count; i++)
		if (pthread_create(&supervisor->workers[i].thread, NULL,
						   source != NULL ? source->run : worker_main,
						   &supervisor->workers[i]) != 0)
			return false;
	return true;
}

/* Runs the threads until they have ended; the exit status. */
static int
run_agent(Supervisor *supervisor, Lease *leases)
{
	Agent	   *agent = supervisor->agent;
	const Settings *settings = agent->settings;
	bool		ended;
	int			i;

	supervisor->deadline = LLONG_MAX;
	supervisor->abandon_after = LLONG_MAX;
	supervisor->next_stats = settings->stats_interval > 0 ?
		clock_ms() + settings->stats_interval : LLONG_MAX;
	log_line(LOG_INFO, "started", LOG_S("version", SENTINAI_VERSION),
			 LOG_S("worker_type", settings->worker_type),
			 LOG_N("concurrency", settings->concurrency), LOG_END);
	if (!make_workers(supervisor, leases))
	{
		log_line(LOG_ERROR, "out of memory", LOG_END);
		return EXIT_SYSTEM;
	}
	if (!start_http(supervisor))
		return EXIT_UNAVAILABLE;
	if (!start_threads(supervisor, leases))
	{
		/* threads that did start hold at most a lease, which expires */
		log_line(LOG_ERROR, "could not start the threads", LOG_END);
		_exit(EXIT_SYSTEM);
	}
	ended = supervise(supervisor);
	ended = finish_keeper(supervisor, !ended) && ended;
	log_counts(supervisor, true);
	log_line(LOG_INFO, "stopped", LOG_N("status", atomic_load(&agent->status)),
			 LOG_END);
	if (!ended)
		_exit(atomic_load(&agent->status));
	for (i = 0; i < supervisor->count; i++)
	{
		pthread_join(supervisor->workers[i].thread, NULL);
		pthread_mutex_destroy(&leases[i].mutex);
		pthread_mutex_destroy(&leases[i].baton);
	}
	keeper_free(supervisor->keeper);
	http_stop(supervisor->http);
	return atomic_load(&agent->status);
}

/* Makes what the threads share, and runs them. */
static int
start_agent(const AgentDefinition *definition, const Settings *settings)
{
	Agent		agent = {.definition = definition, .settings = settings};
	Supervisor	supervisor = {.agent = &agent,.count = settings->concurrency};
	size_t		count = (size_t) settings->concurrency;
	Lease	   *leases = calloc(count, sizeof(Lease));
	int			status = EXIT_SYSTEM;

	agent.on_exit = wake_main_thread;
	main_thread = pthread_self();
	supervisor.workers = calloc(count, sizeof(Worker));
	if (leases == NULL || supervisor.workers == NULL ||
		!stop_init(&agent.stop))
		log_line(LOG_ERROR, "out of memory or files", LOG_END);
	else
	{
		block_signals(&supervisor.signals);
		status = run_agent(&supervisor, leases);
		stop_close(&agent.stop);
	}
	free(leases);
	free(supervisor.workers);
	return status;
}

/* The group that instances share the work of is a subscription here. */
static void
take_group(Settings *settings, const AgentDefinition *definition)
{
	char	   *group = definition->group != NULL && *definition->group != NULL ?
		strdup(*definition->group) : NULL;

	if (group == NULL)
		return;
	free(settings->worker_type);
	settings->worker_type = group;
}

/* Runs what the options say, or says why not; the exit status. */
static int
start_configured(const AgentDefinition *definition, Settings *settings)
{
	const AgentSource *source = source_of(definition);
	char		error[512];

	if (source != NULL && definition->set_handler != NULL &&
		!source->check(settings, definition, error, sizeof(error)))
	{
		fprintf(stderr, "%s: %s\n", definition->name, error);
		return EXIT_USAGE;
	}
	take_group(settings, definition);
	log_init((LogLevel) settings->log_level,
			 (LogFormat) settings->log_format, definition->name);
	return start_agent(definition, settings);
}

/* Runs an agent; the result is the exit status of the program. */
int
agent_main(const AgentDefinition *definition, int argc, char **argv)
{
	Conf		conf;
	int			status = 0;

	reset_process();
	if (!conf_load(&conf, definition, argc, argv))
	{
		fprintf(stderr, "%s: %s\nTry \"%s --help\".\n", definition->name,
				conf.error, definition->name);
		status = EXIT_USAGE;
	}
	else if (conf.settings.help)
		conf_print_help(&conf, stdout);
	else if (conf.settings.version)
		printf("%s %s\n", definition->name, SENTINAI_VERSION);
	else if (!pg_check_conninfo(&conf.settings))
	{
		fprintf(stderr, "%s: the connection string in --dbname is not "
				"valid\n", definition->name);
		status = EXIT_CONFIG;
	}
	else if (conf.settings.show_config)
		conf_print_values(&conf, stdout);
	else
		status = start_configured(definition, &conf.settings);
	conf_free(&conf);
	return status;
}
