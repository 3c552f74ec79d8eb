/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * trace.c
 *	  sentinai-trace: draws a flow, what led to what and what became of it.
 *
 * Everything is read by sentinai.trace_tree(), in one statement.  With --follow
 * that is asked again and again, and drawn again when it says something else.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "flow.h"
#include "tool.h"
#include "value.h"

#define PROGRAM "sentinai-trace"
#define EXIT_NOTHING 1			/* no such flow, or the server refused */

typedef struct Options
{
	const char *tenant;
	const char *max_events;
	const char *correlation_id;
	FlowDraw	draw;
	bool		follow;
	int			interval;		/* milliseconds between two looks */
	int			idle;			/* milliseconds without news; 0: for ever */
} Options;

/* Letters of options that have none. */
enum
{
	OPT_SVG = 256, OPT_MERMAID, OPT_OTLP, OPT_INTERVAL, OPT_IDLE
};

static const struct option long_options[] = {
	TOOL_OPTIONS,
	{"tenant", required_argument, NULL, 't'},
	{"max-events", required_argument, NULL, 'n'},
	{"follow", no_argument, NULL, 'f'},
	{"interval", required_argument, NULL, OPT_INTERVAL},
	{"idle", required_argument, NULL, OPT_IDLE},
	{"svg", no_argument, NULL, OPT_SVG},
	{"mermaid", no_argument, NULL, OPT_MERMAID},
	{"otlp", no_argument, NULL, OPT_OTLP},
	{NULL, 0, NULL, 0}
};

static const char usage[] =
"Usage: " PROGRAM " [OPTION]... CORRELATION_ID\n"
"Draws a flow: which event led to which, and what became of them.\n\n"
"  -t, --tenant=TENANT     events of this tenant only\n"
"  -n, --max-events=N      most events, the oldest (default 1000, at most 10000)\n"
"  -f, --follow            draw it again whenever it has changed\n"
"      --interval=TIME     time between two looks (default 500ms)\n"
"      --idle=TIME         with --follow: end when nothing has changed so long\n"
"      --svg               write SVG\n"
"      --mermaid           write a flow chart in Mermaid's language\n"
"      --otlp              write JSON of OpenTelemetry's protocol\n"
TOOL_USAGE;

static Tool tool = {.program = PROGRAM, .usage = usage};

static volatile sig_atomic_t must_stop = 0;

static void
note_signal(int number)
{
	(void) number;
	must_stop = 1;
}

/* A time of an option. */
static int
duration_of(const char *name, const char *value)
{
	int			result;

	if (!value_parse_duration(value, &result) || result < 1)
		tool_refuse(&tool, "not a time", name);
	return result;
}

/* Reads an option of its own. */
static void
take_option(Options *options, int letter)
{
	switch (letter)
	{
		case 't':
			options->tenant = optarg;
			break;
		case 'n':
			options->max_events = optarg;
			break;
		case 'f':
			options->follow = true;
			break;
		case OPT_INTERVAL:
			options->interval = duration_of("--interval", optarg);
			break;
		case OPT_IDLE:
			options->idle = duration_of("--idle", optarg);
			break;
		case OPT_SVG:
			options->draw = flow_draw_svg;
			break;
		case OPT_MERMAID:
			options->draw = flow_draw_mermaid;
			break;
		case OPT_OTLP:
			options->draw = flow_draw_otlp;
			break;
	}
}

/* Reads the arguments. */
static void
read_options(Options *options, int argc, char **argv)
{
	int			letter;

	while ((letter = getopt_long(argc, argv, TOOL_LETTERS "t:n:f", long_options,
								 NULL)) != -1)
	{
		if (!tool_option(&tool, argv, letter))
			take_option(options, letter);
	}
	if (optind + 1 != argc)
		tool_refuse(&tool, "one correlation id is needed", NULL);
	options->correlation_id = argv[optind];
}

/* Says what the server or libpq has to say. */
static int
report(const PGconn *conn)
{
	fprintf(stderr, PROGRAM ": %s", PQerrorMessage(conn));
	return EXIT_NOTHING;
}

/* Writes all of a text; false when nobody takes it. */
static bool
write_out(const Text *text)
{
	return fwrite(text->data, 1, text->length, stdout) == text->length &&
		fflush(stdout) == 0;
}

/* Says that a flow may go on behind what is drawn of it. */
static void
note_limit(const Options *options, int count)
{
	if (count >= atoi(options->max_events))
		fprintf(stderr, PROGRAM ": --max-events=%d is reached: newer events are not drawn\n",
				count);
}

/* Draws a flow; false when out of memory. */
static bool
draw(const Options *options, PGconn *conn, Text *out, int *count)
{
	Flow		flow;
	bool		done = flow_read(conn, options->correlation_id, options->tenant,
								 options->max_events, &flow);

	*count = flow.count;
	if (done && flow.count > 0)
		options->draw(out, &flow);
	flow_free(&flow);
	if (out->failed)
		fprintf(stderr, PROGRAM ": out of memory\n");
	else if (!done)
		report(conn);
	return done && !out->failed;
}

/* Draws a flow once. */
static int
draw_once(const Options *options, PGconn *conn)
{
	Text		out = {0};
	int			count;
	int			status = EX_OK;

	if (!draw(options, conn, &out, &count))
		status = EXIT_NOTHING;
	else if (count == 0)
	{
		fprintf(stderr, PROGRAM ": there are no events of this flow\n");
		status = EXIT_NOTHING;
	}
	else if (!write_out(&out))
		status = EX_IOERR;
	else
		note_limit(options, count);
	text_free(&out);
	return status;
}

/* Sleeps, at most until a signal. */
static void
pause_for(int milliseconds)
{
	struct timespec pause = {milliseconds / 1000,
	(milliseconds % 1000) * 1000000L};

	if (!must_stop)
		nanosleep(&pause, NULL);
}

/* Draws a flow whenever it has changed. */
static int
follow(const Options *options, PGconn *conn)
{
	const char *clear = isatty(STDOUT_FILENO) ? "\033[H\033[2J" : "";
	Text		before = {0};
	int			status = EX_OK;
	int			quiet = 0;

	while (!must_stop && (options->idle == 0 || quiet < options->idle))
	{
		Text		out = {0};
		int			count;

		if (!draw(options, conn, &out, &count))
		{
			text_free(&out);
			status = EXIT_NOTHING;
			break;
		}
		quiet += options->interval;
		if (count > 0 &&
			(before.data == NULL || strcmp(before.data, out.data) != 0))
		{
			quiet = 0;
			if (before.data != NULL && *clear == '\0')
				putchar('\n');
			fputs(clear, stdout);
			if (!write_out(&out))
			{
				text_free(&out);
				status = EX_IOERR;
				break;
			}
			note_limit(options, count);
			text_free(&before);
			before = out;
		}
		else
			text_free(&out);
		pause_for(options->interval);
	}
	text_free(&before);
	return status;
}

int
main(int argc, char **argv)
{
	Options		options = {
		.max_events = "1000",.draw = flow_draw_tree,.interval = 500
	};
	struct sigaction act = {.sa_handler = note_signal};
	PGconn	   *conn;
	int			status;

	read_options(&options, argc, argv);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	conn = tool_connect(&tool);
	if (PQstatus(conn) != CONNECTION_OK)
		status = report(conn);
	else
		status = options.follow ? follow(&options, conn) :
			draw_once(&options, conn);
	PQfinish(conn);
	return status;
}
