/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * set_agent.h
 *	  An agent of the platform: a handler in the database, and its name.
 */
#ifndef SENTINAI_SET_AGENT_H
#define SENTINAI_SET_AGENT_H

/* Runs an agent of the platform; the result is the exit status. */
#include "agent.h"

/* The option that names a group, at an offset of the settings. */
#define SET_AGENT_GROUP(at) \
	{"group-id", 0, AGENT_OPTION_STRING, (at), NULL, 0, 0, NULL, "GROUP_ID", \
		false, false, "NAME", \
	"subscription that instances share, where it is not the worker type"}

extern int	set_agent_main(const char *program, const char *summary,
						   const char *handler, int argc, char **argv);

#endif							/* SENTINAI_SET_AGENT_H */
