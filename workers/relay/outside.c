/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outside.c
 *	  sentinai-relay: a relay in a process outside of the server.
 *
 * It has the core and the rules of a turn that the relay process of the server
 * has, and the same library of a broker; the database it has over libpq.  One
 * process works for a relay: others that are started for it wait until the
 * session of that one has ended.
 */
#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "log.h"
#include "outside_health.h"
#include "outside_host.h"
#include "session.h"
#include "stop.h"
#include "tool.h"
#include "value.h"

#define PROGRAM "sentinai-relay"

#define MAX_SLEEP_MS	1000
#define ANSWERS_MS		10		/* so long answers may wait for each other */
#define RETRY_MS		500		/* until the relay is asked for again */
#define RETRY_MAX_MS	30000	/* the same after many failures */
#define LOG_EVERY_MS	60000	/* repeated errors are logged so often */
#define CLOSE_MS		2000
#define HELD_OFF_MS		100

enum
{
	OPT_SECRETS = 256, OPT_LIBRARIES, OPT_LOG_FORMAT, OPT_HTTP, OPT_STUCK_AFTER
};

static const struct option long_options[] = {
	TOOL_OPTIONS,
	{"relay", required_argument, NULL, 'r'},
	{"secret-directory", required_argument, NULL, OPT_SECRETS},
	{"library-directory", required_argument, NULL, OPT_LIBRARIES},
	{"log-format", required_argument, NULL, OPT_LOG_FORMAT},
	{"http", required_argument, NULL, OPT_HTTP},
	{"stuck-after", required_argument, NULL, OPT_STUCK_AFTER},
	{NULL, 0, NULL, 0}
};

static const char usage[] =
"Usage: " PROGRAM " [OPTION]... --relay=NAME\n"
"Sends the events of a relay of workers 0 to its broker.\n\n"
"  -r, --relay=NAME        the relay, as create_relay() has named it\n"
"      --secret-directory=DIR  files with the secrets that its settings name\n"
"      --library-directory=DIR  of sentinai_kafka.so and the like\n"
"                          (default " SN_LIBRARY_DIRECTORY ")\n"
"      --log-format=FORMAT  of the lines on standard error: text or json\n"
"      --http=ADDRESS      serve /livez, /readyz and /metrics at ADDRESS:PORT, or\n"
"                          at PORT of 127.0.0.1\n"
"      --stuck-after=TIME  after which /livez takes a process that does not move\n"
"                          for stuck (default 10min)\n"
TOOL_USAGE;

static Tool tool = {.program = PROGRAM, .usage = usage};
static const char *relay_name;
static const char *secret_directory = "";
static const char *library_directory = SN_LIBRARY_DIRECTORY;
static const char *http = NULL;
static int	stuck_after = 10 * MINUTE;

static SnRelayLanes lanes;
static SnRelayCoreStats before;	/* of the cores before this one */
static SnWireOut terms;			/* settings, as the server said them last */
static bool stale;				/* the core has others */
static uint64_t logged_errors;
static int64_t logged_at;
static int64_t client_logged_at;
static int	retry_ms = RETRY_MS;	/* until it is tried again after a failure */

/* Ends the program when it is told to. */
static void
note_signal(int number)
{
	(void) number;
	session_stop = 1;
}

/* Has signals come only while the process sleeps, and to no other thread. */
static void
take_signals(void)
{
	struct sigaction action = {.sa_handler = note_signal};
	sigset_t	set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Logs a line of the client library, or the core's. */
static void
log_client(void *arg, int level, const char *facility, const char *text)
{
	int64_t		now = sn_monotonic_ms();

	(void) arg;
	if (level > 4 || strcmp(facility, "CONFWARN") == 0 ||
		(client_logged_at != 0 && now - client_logged_at < LOG_EVERY_MS))
		return;
	client_logged_at = now;
	log_line(LOG_WARNING, "broker's client", LOG_S("facility", facility),
			 LOG_S("text", text), LOG_END);
}

/* Says that a topic cannot be written any more, or can be again. */
static void
topic_changed(const char *topic, const char *error)
{
	if (error != NULL)
		log_line(LOG_WARNING, "topic cannot be written: its events wait",
				 LOG_S("topic", topic), LOG_S("error", error), LOG_END);
	else
		log_line(LOG_INFO, "topic is not waited for any more",
				 LOG_S("topic", topic), LOG_END);
}

/* Loads the library of a broker; none is ever unloaded. */
static const SnBrokerProvider *
load_provider(const char *name)
{
	static const SnBrokerProvider *loaded = NULL;
	char		path[4096];
	void	   *library;
	SnBrokerEntry entry;

	if (loaded != NULL && strcmp(loaded->name, name) == 0)
		return loaded;
	snprintf(path, sizeof(path), "%s/sentinai_%s.so", library_directory, name);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	entry = library == NULL ? NULL :
		(SnBrokerEntry) dlsym(library, SN_BROKER_ENTRY);
	loaded = entry == NULL ? NULL : entry(SN_BROKER_ABI);
	if (loaded == NULL)
	{
		const char *error = library == NULL ? dlerror() : "another version";

		log_line(LOG_ERROR, "cannot load the library of the broker",
				 LOG_S("broker", name), LOG_S("error", error), LOG_END);
		exit(EX_UNAVAILABLE);
	}
	return loaded;
}

/* Opens the core with the settings that the server has said. */
static void
open_core(void)
{
	SnWireIn	in = {terms.data, terms.data + terms.len, false};
	SnRelayCoreConfig config = {0};
	SnRelayCore *core;
	char		err[512] = "";
	const char *error = err;

	config.provider = load_provider(sn_wire_get_string(&in));
	config.broker.settings = sn_wire_get_string(&in);
	config.broker.secret_directory = secret_directory;
	config.broker.client_id = PROGRAM;
	config.broker.log = log_client;
	config.record.database = sn_wire_get_string(&in);
	config.record.topic_template = sn_wire_get_string(&in);
	config.record.dead_letter_topic = sn_wire_get_string(&in);
	config.record.rules = sn_wire_get_string(&in);
	config.record.format = (SnRecordFormat) sn_wire_get(&in);
	config.record.occurred_timestamp = sn_wire_get(&in) != 0;
	config.lanes = (int) sn_wire_get(&in);
	config.max_events = (int) sn_wire_get(&in);
	config.max_bytes = (size_t) sn_wire_get(&in) * 1024;
	config.tail = (int) sn_wire_get(&in);
	config.topic_partitions = (int) sn_wire_get(&in);
	config.topic_replication = (int) sn_wire_get(&in);
	lanes.expires = sn_wire_get(&in) != 0;
	config.breaker_failures = (int) sn_wire_get(&in);
	config.breaker_open_ms = sn_wire_get(&in) * 1000;
	config.events_per_second = (double) sn_wire_get(&in);
	config.bytes_per_second = (double) sn_wire_get(&in);
	config.broker.queue_max_messages = config.max_events + SN_MAX_PARKED;
	config.broker.queue_max_kbytes = (int) (config.max_bytes / 1024 * 3 / 2);
	config.topic_changed = topic_changed;
	core = in.failed || config.lanes > SN_RELAY_LANES ? NULL :
		sn_relay_core_open(&config, err, sizeof(err));
	if (core == NULL)
	{
		log_line(LOG_ERROR, "cannot set up the connection to the broker",
				 LOG_S("error", error), LOG_END);
		session_close();
		longjmp(session_failed, 1);
	}
	lanes.nlanes = config.lanes;
	lanes.window = config.max_events;
	lanes.max_bytes = config.max_bytes;
	sn_relay_lanes_begin(&lanes, core);
	outside_host_unread(lanes.owned);	/* the window of the one before */
	stale = false;
	log_line(LOG_INFO, "sending", LOG_S("relay", relay_name), LOG_END);
}

/* Figures since the process started. */
static void
total_stats(SnRelayCoreStats *stats)
{
	*stats = before;
	stats->inflight = 0;
	stats->limited = false;
	stats->breaker = SN_BREAKER_CLOSED;
	if (lanes.core != NULL)
	{
		sn_relay_core_stats(lanes.core, stats);
		stats->sent += before.sent;
		stats->acked += before.acked;
		stats->errors += before.errors;
		stats->refused += before.refused;
	}
	if (stats->last_error == NULL)
		stats->last_error = "";
}

/* Closes the core: what is outstanding is given up, and sent again later. */
static void
close_core(void)
{
	SnRelayCoreStats total;

	if (lanes.core == NULL)
		return;
	total_stats(&total);
	before = total;
	before.last_error = "";
	logged_at = client_logged_at = 0;
	sn_relay_core_close(lanes.core, CLOSE_MS);
	lanes.core = NULL;
}

/* Logs a new error, once a minute. */
static void
log_errors(void)
{
	SnRelayCoreStats stats;
	int64_t		now = sn_monotonic_ms();

	total_stats(&stats);
	if (stats.errors <= logged_errors ||
		(logged_at != 0 && now - logged_at < LOG_EVERY_MS))
		return;
	log_line(LOG_WARNING, "broker", LOG_S("error", stats.last_error),
			 LOG_N("errors", stats.errors),
			 LOG_S("breaker", sn_breaker_name(stats.breaker)), LOG_END);
	logged_errors = stats.errors;
	logged_at = now;
}

/* Asks for the settings; notes whether the core has others. */
static void
look_at_terms(void)
{
	static SnWireOut nothing;
	SnWireIn	in;
	size_t		len;

	in = session_call(SN_CALL_SETTINGS, &nothing);
	len = (size_t) (in.end - in.at);
	if (len == terms.len && memcmp(in.at, terms.data, len) == 0)
		return;
	free(terms.data);
	terms.data = malloc(len);
	if (terms.data == NULL)
		outside_host.no_memory();
	memcpy(terms.data, in.at, len);
	terms.len = len;
	stale = lanes.core != NULL;
}

/* Says that the relay was paused, or is no longer. */
static void
say_paused(void)
{
	static bool said = false;

	outside_health_state(lanes.paused ? OUTSIDE_PAUSED : OUTSIDE_SENDS);
	if (lanes.paused != said)
		log_line(LOG_INFO, lanes.paused ? "paused" : "resumed",
				 LOG_S("relay", relay_name), LOG_END);
	said = lanes.paused;
}

/* The transaction of a turn; how it stands with the relay. */
static SnRelayState
database_turn(bool last)
{
	bool		look = sn_relay_lanes_look_due(&lanes);
	bool		any = false;
	bool		looked;
	long long	start = clock_us();
	SnRelayCoreStats stats;
	SnRelayState state;

	total_stats(&stats);
	outside_health_figures(&stats);
	session_begin();
	state = outside_host_turn(look && !last, &stats, &looked);
	if (state == SN_RELAY_GOES && looked)
	{
		lanes.looked_at = sn_monotonic_ms();
		lanes.look_for_redrives = true;
		look_at_terms();
	}
	if (state == SN_RELAY_GOES && lanes.core != NULL && (last || !stale))
		any = sn_relay_lanes_turn(&lanes, last);
	session_commit(any);
	outside_health_turn(clock_us() - start);
	say_paused();
	return state;
}

/*
 * Takes the answers to what was sent and stores the positions, so that little
 * is sent twice; then closes the core.
 */
static void
end_core(void)
{
	if (lanes.core == NULL)
		return;
	sn_relay_core_settle(lanes.core, sn_monotonic_ms());
	(void) database_turn(true);
	close_core();
}

/*
 * Sleeps in the server.  When that has a reason of its own to end the sleep, and
 * it is no lane, somebody wants the relay to look.
 */
static void
sleep_in_server(uint64_t interest, int timeout, int broker_fd)
{
	int64_t		until = sn_monotonic_ms() + timeout;
	bool		by_server;
	uint64_t	waiting = session_sleep(interest, timeout, broker_fd,
										&by_server);

	if (by_server && (waiting & interest) == 0 && sn_monotonic_ms() < until)
		lanes.looked_at = 0;
	outside_host_waiting(waiting);
}

/* Sleeps until the server, the broker, a signal or the clock wakes it. */
static void
sleep_until_woken(int64_t timeout)
{
	int			broker_fd = -1;
	uint64_t	interest = 0;

	if (timeout < 0 || timeout > MAX_SLEEP_MS)
		timeout = MAX_SLEEP_MS;
	if (lanes.barred != 0 && timeout > SN_BARRED_MS)
		timeout = SN_BARRED_MS;
	if (lanes.core != NULL)
	{
		bool		room = sn_relay_lanes_have_room(&lanes);
		int64_t		due = sn_relay_lanes_marks_due(&lanes);

		if (due >= 0 && timeout > due)
			timeout = due;
		if (!lanes.paused && room)
			interest = lanes.owned & ~lanes.barred;
		if (!room || !sn_relay_core_waits(lanes.core))
			broker_fd = sn_relay_core_wake_fd(lanes.core);
		else if (timeout > ANSWERS_MS)
			timeout = ANSWERS_MS;
	}
	if (interest == 0 && broker_fd >= 0)
		session_rest((int) timeout, broker_fd);
	else
		sleep_in_server(interest, (int) timeout, broker_fd);
}

/*
 * A turn.  Returns how long there is nothing to do, -1 for "no end"; *state is
 * how it stands with the relay.
 */
static int64_t
one_turn(SnRelayState *state)
{
	int64_t		wait;

	if (lanes.core == NULL && !lanes.paused && terms.len > 0)
		open_core();
	if (sn_relay_lanes_look_due(&lanes) || sn_relay_lanes_need_turn(&lanes))
	{
		*state = database_turn(false);
		if (*state == SN_RELAY_LEAVES)
			return 0;
		if (stale || lanes.paused)
			end_core();
		if (lanes.core == NULL && !lanes.paused &&
			*state != SN_RELAY_HELD_OFF)
			return 0;			/* resumed, or other settings: connect */
		outside_host_push();
	}
	if (lanes.core == NULL)
		return *state == SN_RELAY_HELD_OFF ? HELD_OFF_MS : -1;
	wait = sn_relay_core_turn(lanes.core, sn_monotonic_ms());
	sn_relay_lanes_progress(&lanes);
	retry_ms = RETRY_MS;
	log_errors();
	if (*state == SN_RELAY_HELD_OFF)
		return HELD_OFF_MS;
	return sn_relay_lanes_need_turn(&lanes) ? 0 : wait;
}

/* Waits until the relay is this process's; false: it is to end. */
static bool
take_relay(void)
{
	static char said[256] = "";
	const char *why_not;

	while (!session_stop)
	{
		outside_health_moves(0);
		if (session_open(relay_name, &why_not))
		{
			said[0] = '\0';
			return true;
		}
		outside_health_state(OUTSIDE_WAITS);
		if (strcmp(said, why_not) != 0)
			log_line(LOG_INFO, "waiting", LOG_S("relay", relay_name),
					 LOG_S("because", why_not), LOG_END);
		snprintf(said, sizeof(said), "%s", why_not);
		session_pause(RETRY_MS);
	}
	return false;
}

/* Works for the relay until it is another's, or the process is to end. */
static void
work(void)
{
	SnRelayState state = SN_RELAY_GOES;

	while (!session_stop && state != SN_RELAY_LEAVES)
	{
		int64_t		wait = one_turn(&state);

		outside_health_moves(0);
		if (wait != 0 && state != SN_RELAY_LEAVES)
			sleep_until_woken(wait);
	}
	if (session_stop)
		outside_health_state(OUTSIDE_STOPS);
	if (state != SN_RELAY_LEAVES)
		end_core();
	close_core();
	log_line(LOG_INFO, "no longer sending", LOG_S("relay", relay_name),
			 LOG_END);
}

/* A new session knows nothing of what the one before had. */
static void
begin_anew(void)
{
	close_core();
	memset(&lanes, 0, sizeof(lanes));
	lanes.host = &outside_host;
	lanes.every = 1;
	terms.len = 0;
	stale = false;
	outside_host_begin(&lanes);
}

/* Sleeps before the next try; longer each time. */
static void
pause_after_failure(void)
{
	outside_health_state(OUTSIDE_DOWN);
	outside_health_moves(retry_ms);
	session_pause(retry_ms);
	retry_ms = retry_ms * 2 < RETRY_MAX_MS ? retry_ms * 2 : RETRY_MAX_MS;
}

/* Reads the options. */
static void
read_options(int argc, char **argv)
{
	LogFormat	format = LOG_TEXT;
	int			letter;

	while ((letter = getopt_long(argc, argv, TOOL_LETTERS "r:", long_options,
								 NULL)) != -1)
	{
		if (letter == 'r')
			relay_name = optarg;
		else if (letter == OPT_SECRETS)
			secret_directory = optarg;
		else if (letter == OPT_LIBRARIES)
			library_directory = optarg;
		else if (letter == OPT_HTTP)
			http = optarg;
		else if (letter == OPT_STUCK_AFTER)
		{
			if (!value_parse_duration(optarg, &stuck_after) ||
				stuck_after < SECOND || stuck_after > DAY)
				tool_refuse(&tool, "no such time, from 1s to 1d", optarg);
		}
		else if (letter == OPT_LOG_FORMAT)
		{
			if (strcmp(optarg, "json") != 0 && strcmp(optarg, "text") != 0)
				tool_refuse(&tool, "no such format", optarg);
			format = strcmp(optarg, "json") == 0 ? LOG_JSON : LOG_TEXT;
		}
		else if (!tool_option(&tool, argv, letter))
			exit(EX_USAGE);
	}
	if (optind < argc)
		tool_refuse(&tool, "too many arguments", argv[optind]);
	if (relay_name == NULL)
		tool_refuse(&tool, "no relay is named", NULL);
	log_init(LOG_INFO, format, PROGRAM);
}

int
main(int argc, char **argv)
{
	read_options(argc, argv);
	take_signals();
	if (http != NULL && !outside_health_serve(http, relay_name, stuck_after))
		return EX_UNAVAILABLE;
	if (setjmp(session_failed) != 0 && !session_stop)
		pause_after_failure();
	while (!session_stop)
	{
		begin_anew();
		session_connect(&tool);
		outside_health_connected();
		if (take_relay())
			work();
		session_close();
	}
	return EX_OK;
}
