/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tool.h
 *	  What programs for people have alike: which database, --help, --version.
 */
#ifndef SENTINAI_TOOL_H
#define SENTINAI_TOOL_H

#include <stdbool.h>

#include <libpq-fe.h>

typedef struct Tool
{
	const char *program;
	const char *usage;
	const char *dbname;
	const char *host;
	const char *port;
	const char *user;
} Tool;

/* The letter of --version; a program's own options without one are below it. */
#define TOOL_VERSION 1024

#define TOOL_LETTERS "d:h:p:U:?"

#define TOOL_OPTIONS \
	{"dbname", required_argument, NULL, 'd'}, \
	{"host", required_argument, NULL, 'h'}, \
	{"port", required_argument, NULL, 'p'}, \
	{"user", required_argument, NULL, 'U'}, \
	{"version", no_argument, NULL, TOOL_VERSION}, \
	{"help", no_argument, NULL, '?'}

#define TOOL_USAGE \
"  -h, --host=HOST         database server or socket directory\n" \
"  -p, --port=PORT         its port\n" \
"  -d, --dbname=NAME       database, or a connection string or URI\n" \
"  -U, --user=NAME         database user\n" \
"      --version           print the version, then exit\n" \
"  -?, --help              print this, then exit\n"

extern void tool_refuse(const Tool *tool, const char *what, const char *value);
extern bool tool_option(Tool *tool, char **argv, int letter);
extern PGconn *tool_connect(const Tool *tool);

#endif							/* SENTINAI_TOOL_H */
