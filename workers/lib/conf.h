/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * conf.h
 *	  Settings of an agent and how they are read.
 *
 * Precedence: flag, environment, file, default.
 */
#ifndef SENTINAI_CONF_H
#define SENTINAI_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "agent.h"

typedef enum PrepareMode
{
	PREPARE_AUTO,				/* unless a pooler sits in between */
	PREPARE_ON,
	PREPARE_OFF
} PrepareMode;

typedef enum UnknownMode
{
	UNKNOWN_RETRY,
	UNKNOWN_EXIT
} UnknownMode;

/* Durations are milliseconds. */
typedef struct Settings
{
	char	   *config;
	char	   *worker_type;
	char	   *worker_id;
	int			concurrency;
	int			max_events;
	int			lease;
	int			wait;
	bool		once;
	bool		until_empty;
	int			shutdown_timeout;
	int			unknown_type;	/* UnknownMode */
	char	   *host;
	char	   *port;
	char	   *dbname;
	char	   *user;
	char	   *passfile;
	int			connect_timeout;
	int			statement_timeout;
	int			reconnect_min;
	int			reconnect_max;
	int			reconnect_attempts;
	int			prepare;		/* PrepareMode */
	int			log_level;		/* LogLevel */
	int			log_format;		/* LogFormat */
	int			stats_interval;
	char	   *http;
	int			stuck_after;
	bool		show_config;
	bool		help;
	bool		version;
} Settings;

/* Where a value comes from, in rising precedence. */
typedef enum ConfSource
{
	CONF_DEFAULT,
	CONF_FILE,
	CONF_ENVIRONMENT,
	CONF_FLAG
} ConfSource;

typedef struct Conf
{
	const AgentDefinition *definition;
	Settings	settings;
	struct ConfEntry *entries;	/* the library's rows, then the agent's */
	AgentOption worker_type;	/* the library's row with the agent's default */
	int			count;
	char		error[1024];
} Conf;

extern bool conf_load(Conf *conf, const AgentDefinition *definition,
					  int argc, char **argv);
extern void conf_free(Conf *conf);
extern void conf_print_help(const Conf *conf, FILE *out);
extern void conf_print_values(const Conf *conf, FILE *out);
extern ConfSource conf_source(const Conf *conf, const char *name);

#endif							/* SENTINAI_CONF_H */
