/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sentinai-mockbroker.c
 *		librdkafka's mock cluster as a program: Kafka for tests without Java.
 *
 * Starts brokers on loopback ports that it chooses, prints their list as one
 * line on standard output, and serves until SIGTERM or SIGINT.  Everything is
 * in memory (some 5 MB or 100,000 records per partition).  It creates topics
 * on demand with 4 partitions, and does not know CreateTopics.
 *
 * Faults are ordered by lines on standard input; each is answered by a line
 * that is "ok" or begins with "error: ".  --help lists them.
 *
 * All signals stay blocked but inside ppoll, so that the cluster's thread,
 * which inherits the mask, never runs a handler.
 */
#include <errno.h>
#include <getopt.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_WORDS 64

typedef struct Command
{
	const char *name;
	int			min_args;
	const char *usage;
	const char *help;
	rd_kafka_resp_err_t (*run) (rd_kafka_mock_cluster_t *cluster, int nargs,
								char **args);
} Command;

static rd_kafka_resp_err_t run_topic(rd_kafka_mock_cluster_t *cluster,
									 int nargs, char **args);
static rd_kafka_resp_err_t run_topic_error(rd_kafka_mock_cluster_t *cluster,
										   int nargs, char **args);
static rd_kafka_resp_err_t run_errors(rd_kafka_mock_cluster_t *cluster,
									  int nargs, char **args);
static rd_kafka_resp_err_t run_clear(rd_kafka_mock_cluster_t *cluster,
									 int nargs, char **args);
static rd_kafka_resp_err_t run_down(rd_kafka_mock_cluster_t *cluster,
									int nargs, char **args);
static rd_kafka_resp_err_t run_up(rd_kafka_mock_cluster_t *cluster,
								  int nargs, char **args);
static rd_kafka_resp_err_t run_rtt(rd_kafka_mock_cluster_t *cluster,
								   int nargs, char **args);
static rd_kafka_resp_err_t for_brokers(rd_kafka_mock_cluster_t *cluster,
									   const char *which,
									   rd_kafka_resp_err_t (*act) (rd_kafka_mock_cluster_t *, int32_t));
static bool find_error(const char *name, rd_kafka_resp_err_t *code);
static bool find_request(const char *name, int16_t *key);
static bool make_topics(rd_kafka_mock_cluster_t *cluster, int n,
						char **topics);
static bool write_file(const char *path, const char *text);
static void serve(rd_kafka_mock_cluster_t *cluster, const sigset_t *mask);
static bool read_input(rd_kafka_mock_cluster_t *cluster);
static void run_line(rd_kafka_mock_cluster_t *cluster, char *line);
static void stop(int signo);
static void print_help(void);

static const Command commands[] = {
	{"topic", 2, "NAME PARTITIONS", "create a topic", run_topic},
	{"topic-error", 2, "NAME ERROR",
	"answer requests for its metadata with an error; NO_ERROR ends it",
	run_topic_error},
	{"errors", 2, "REQUEST ERROR...",
	"answer the next requests of a kind with errors, one each", run_errors},
	{"clear", 1, "REQUEST", "forget the errors not used", run_clear},
	{"down", 1, "BROKER|all", "close connections and refuse new ones",
	run_down},
	{"up", 1, "BROKER|all", "end of down", run_up},
	{"rtt", 2, "BROKER MS", "delay every answer", run_rtt}
};

#define NCOMMANDS ((int) (sizeof(commands) / sizeof(commands[0])))

static int	nbrokers = 1;
static const char *file = NULL; /* to write the addresses to */
static bool stdin_exit = false; /* end with the input */
static volatile sig_atomic_t stopped = 0;

/* Reads the options; -1 to go on, or the exit status. */
static int
read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"brokers", required_argument, NULL, 'b'},
		{"file", required_argument, NULL, 'f'},
		{"stdin-exit", no_argument, NULL, 'e'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}
	};
	int			c;

	while ((c = getopt_long(argc, argv, "b:f:eh", options, NULL)) != -1)
	{
		switch (c)
		{
			case 'b':
				nbrokers = atoi(optarg);
				break;
			case 'f':
				file = optarg;
				break;
			case 'e':
				stdin_exit = true;
				break;
			case 'h':
				print_help();
				return 0;
			default:
				return 2;
		}
	}
	if (nbrokers >= 1 && nbrokers <= 20)
		return -1;
	fprintf(stderr, "sentinai-mockbroker: 1 to 20 brokers\n");
	return 2;
}

/* Blocks signals, so that threads have them blocked; before: what may come in. */
static void
take_signals(sigset_t *before)
{
	struct sigaction action = {.sa_handler = stop};
	sigset_t	all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, before);
	sigdelset(before, SIGTERM);
	sigdelset(before, SIGINT);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

int
main(int argc, char **argv)
{
	rd_kafka_mock_cluster_t *cluster;
	rd_kafka_conf_t *conf;
	rd_kafka_t *handle;
	sigset_t	before;
	char		err[256];
	int			status = read_options(argc, argv);

	if (status >= 0)
		return status;
	take_signals(&before);

	/* the handle itself connects to nothing: no warning about that */
	conf = rd_kafka_conf_new();
	rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
	handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
	cluster = handle == NULL ? NULL :
		rd_kafka_mock_cluster_new(handle, nbrokers);
	if (cluster == NULL)
	{
		fprintf(stderr, "sentinai-mockbroker: could not start brokers\n");
		return 1;
	}
	if (!make_topics(cluster, argc - optind, argv + optind) ||
		(file != NULL &&
		 !write_file(file, rd_kafka_mock_cluster_bootstraps(cluster))))
		return 1;
	printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
	fflush(stdout);
	serve(cluster, &before);
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(handle);
	if (file != NULL)
		unlink(file);
	return 0;
}

/* Creates a topic. */
static rd_kafka_resp_err_t
run_topic(rd_kafka_mock_cluster_t *cluster, int nargs, char **args)
{
	(void) nargs;
	return rd_kafka_mock_topic_create(cluster, args[0], atoi(args[1]), 1);
}

/* Makes a topic's metadata an error. */
static rd_kafka_resp_err_t
run_topic_error(rd_kafka_mock_cluster_t *cluster, int nargs, char **args)
{
	rd_kafka_resp_err_t code;

	(void) nargs;
	if (!find_error(args[1], &code))
		return RD_KAFKA_RESP_ERR__INVALID_ARG;
	rd_kafka_mock_topic_set_error(cluster, args[0], code);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Queues errors for a kind of request. */
static rd_kafka_resp_err_t
run_errors(rd_kafka_mock_cluster_t *cluster, int nargs, char **args)
{
	rd_kafka_resp_err_t codes[MAX_WORDS];
	int16_t		key;
	int			i;

	if (!find_request(args[0], &key))
		return RD_KAFKA_RESP_ERR__INVALID_ARG;
	for (i = 1; i < nargs; i++)
	{
		if (!find_error(args[i], &codes[i - 1]))
			return RD_KAFKA_RESP_ERR__INVALID_ARG;
	}
	rd_kafka_mock_push_request_errors_array(cluster, key, nargs - 1, codes);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Forgets queued errors. */
static rd_kafka_resp_err_t
run_clear(rd_kafka_mock_cluster_t *cluster, int nargs, char **args)
{
	int16_t		key;

	(void) nargs;
	if (!find_request(args[0], &key))
		return RD_KAFKA_RESP_ERR__INVALID_ARG;
	rd_kafka_mock_clear_request_errors(cluster, key);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Takes brokers off the network. */
static rd_kafka_resp_err_t
run_down(rd_kafka_mock_cluster_t *cluster, int nargs, char **args)
{
	(void) nargs;
	return for_brokers(cluster, args[0], rd_kafka_mock_broker_set_down);
}

/* Brings brokers back. */
static rd_kafka_resp_err_t
run_up(rd_kafka_mock_cluster_t *cluster, int nargs, char **args)
{
	(void) nargs;
	return for_brokers(cluster, args[0], rd_kafka_mock_broker_set_up);
}

/* Delays a broker's answers. */
static rd_kafka_resp_err_t
run_rtt(rd_kafka_mock_cluster_t *cluster, int nargs, char **args)
{
	(void) nargs;
	return rd_kafka_mock_broker_set_rtt(cluster, atoi(args[0]),
										atoi(args[1]));
}

/* Does something to one broker, or to all. */
static rd_kafka_resp_err_t
for_brokers(rd_kafka_mock_cluster_t *cluster, const char *which,
			rd_kafka_resp_err_t (*act) (rd_kafka_mock_cluster_t *, int32_t))
{
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
	int			i;

	if (strcmp(which, "all") != 0)
		return act(cluster, atoi(which));
	for (i = 1; i <= nbrokers && code == 0; i++)
		code = act(cluster, i);
	return code;
}

/* An error by librdkafka's name (MSG_SIZE_TOO_LARGE) or number. */
static bool
find_error(const char *name, rd_kafka_resp_err_t *code)
{
	const struct rd_kafka_err_desc *descs;
	char	   *end;
	size_t		count;
	size_t		i;

	*code = (rd_kafka_resp_err_t) strtol(name, &end, 10);
	if (*name != '\0' && *end == '\0')
		return true;
	rd_kafka_get_err_descs(&descs, &count);
	for (i = 0; i < count; i++)
	{
		if (descs[i].name != NULL && strcmp(descs[i].name, name) == 0)
		{
			*code = descs[i].code;
			return true;
		}
	}
	return false;
}

/* A kind of request by name or by its number in the protocol. */
static bool
find_request(const char *name, int16_t *key)
{
	static const struct
	{
		const char *name;
		int16_t		key;
	}			requests[] = {
		{"Produce", 0}, {"Fetch", 1}, {"ListOffsets", 2}, {"Metadata", 3},
		{"InitProducerId", 22}
	};
	char	   *end;
	size_t		i;

	*key = (int16_t) strtol(name, &end, 10);
	if (*name != '\0' && *end == '\0')
		return true;
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
	{
		if (strcmp(requests[i].name, name) == 0)
		{
			*key = requests[i].key;
			return true;
		}
	}
	return false;
}

/* Creates the topics of the command line. */
static bool
make_topics(rd_kafka_mock_cluster_t *cluster, int n, char **topics)
{
	rd_kafka_resp_err_t code;
	char	   *colon;
	int			i;

	for (i = 0; i < n; i++)
	{
		colon = strrchr(topics[i], ':');
		if (colon == NULL || atoi(colon + 1) < 1)
		{
			fprintf(stderr, "sentinai-mockbroker: not TOPIC:PARTITIONS: %s\n",
					topics[i]);
			return false;
		}
		*colon = '\0';
		code = rd_kafka_mock_topic_create(cluster, topics[i], atoi(colon + 1),
										  1);
		if (code != 0)
		{
			fprintf(stderr, "sentinai-mockbroker: topic %s: %s\n", topics[i],
					rd_kafka_err2str(code));
			return false;
		}
	}
	return true;
}

/* Writes a line so that a reader sees all of it or no file. */
static bool
write_file(const char *path, const char *text)
{
	char		temp[PATH_MAX];
	FILE	   *out;
	bool		written;

	snprintf(temp, sizeof(temp), "%s.new", path);
	out = fopen(temp, "w");
	if (out != NULL)
	{
		written = fprintf(out, "%s\n", text) > 0;
		if (fclose(out) == 0 && written && rename(temp, path) == 0)
			return true;
	}
	fprintf(stderr, "sentinai-mockbroker: could not write %s: %s\n", path,
			strerror(errno));
	return false;
}

/* Runs commands until a signal, or the end of input if that counts. */
static void
serve(rd_kafka_mock_cluster_t *cluster, const sigset_t *mask)
{
	struct pollfd input = {.fd = STDIN_FILENO,.events = POLLIN};

	while (!stopped)
	{
		if (ppoll(&input, 1, NULL, mask) <= 0)
			continue;
		if (read_input(cluster))
			continue;
		if (stdin_exit)
			return;
		input.fd = -1;
	}
}

/* Reads what there is and runs its lines; false at the end of input. */
static bool
read_input(rd_kafka_mock_cluster_t *cluster)
{
	static char buf[8192];
	static size_t used = 0;
	ssize_t		got = read(STDIN_FILENO, buf + used, sizeof(buf) - used - 1);
	char	   *line = buf;
	char	   *end;

	if (got <= 0)
		return false;
	used += got;
	buf[used] = '\0';
	while ((end = strchr(line, '\n')) != NULL)
	{
		*end = '\0';
		run_line(cluster, line);
		line = end + 1;
	}
	used -= line - buf;
	memmove(buf, line, used);
	if (used == sizeof(buf) - 1)
		used = 0;
	return true;
}

/* Runs one line and answers it. */
static void
run_line(rd_kafka_mock_cluster_t *cluster, char *line)
{
	char	   *words[MAX_WORDS];
	rd_kafka_resp_err_t code;
	int			n = 0;
	int			i;

	for (line = strtok(line, " \t\r"); line != NULL && n < MAX_WORDS;
		 line = strtok(NULL, " \t\r"))
		words[n++] = line;
	if (n == 0)
		return;
	for (i = 0; i < NCOMMANDS; i++)
	{
		if (strcmp(commands[i].name, words[0]) == 0)
			break;
	}
	if (i == NCOMMANDS)
		printf("error: unknown command\n");
	else if (n - 1 < commands[i].min_args)
		printf("error: usage: %s %s\n", commands[i].name, commands[i].usage);
	else if ((code = commands[i].run(cluster, n - 1, words + 1)) != 0)
		printf("error: %s\n", rd_kafka_err2str(code));
	else
		printf("ok\n");
	fflush(stdout);
}

/* Handler of SIGTERM and SIGINT. */
static void
stop(int signo)
{
	(void) signo;
	stopped = 1;
}

/* Prints options and commands. */
static void
print_help(void)
{
	int			i;

	printf("Usage: sentinai-mockbroker [OPTION]... [TOPIC:PARTITIONS]...\n\n"
		   "  -b, --brokers N    number of brokers (1)\n"
		   "  -f, --file PATH    also write the list of brokers there\n"
		   "  -e, --stdin-exit   exit when standard input ends\n\n"
		   "Commands on standard input:\n");
	for (i = 0; i < NCOMMANDS; i++)
		printf("  %-12s %-18s %s\n", commands[i].name, commands[i].usage,
			   commands[i].help);
}
