/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tool.c
 *	  What programs for people have alike: which database, --help, --version.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "tool.h"

/* Ends the program because of its arguments. */
void
tool_refuse(const Tool *tool, const char *what, const char *value)
{
	fprintf(stderr, "%s: %s%s%s\nTry \"%s --help\".\n", tool->program, what,
			value == NULL ? "" : ": ", value == NULL ? "" : value,
			tool->program);
	exit(EX_USAGE);
}

/* Prints the usage, or ends after an option that getopt does not know. */
static void
help(const Tool *tool, char **argv)
{
	/* getopt says '?' for an option it does not know, and has said so */
	if ((optopt != 0 && optopt != '?') ||
		(strcmp(argv[optind - 1], "-?") != 0 &&
		 strcmp(argv[optind - 1], "--help") != 0))
		exit(EX_USAGE);
	fputs(tool->usage, stdout);
	exit(EX_OK);
}

/* Reads an option that getopt has found; false: it is one of the program. */
bool
tool_option(Tool *tool, char **argv, int letter)
{
	switch (letter)
	{
		case 'd':
			tool->dbname = optarg;
			return true;
		case 'h':
			tool->host = optarg;
			return true;
		case 'p':
			tool->port = optarg;
			return true;
		case 'U':
			tool->user = optarg;
			return true;
		case TOOL_VERSION:
			printf("%s " SENTINAI_VERSION "\n", tool->program);
			exit(EX_OK);
		case '?':
			help(tool, argv);
	}
	return false;
}

/* Connects; NULL when there is no memory. */
PGconn *
tool_connect(const Tool *tool)
{
	const char *names[] = {
		"host", "port", "user", "fallback_application_name",
		"client_encoding", "dbname", NULL
	};
	const char *values[] = {
		tool->host, tool->port, tool->user, tool->program, "UTF8",
		tool->dbname, NULL
	};

	/* what a connection string in dbname says overrides what stands before */
	return PQconnectdbParams(names, values, 1);
}
