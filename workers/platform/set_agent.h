/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * set_agent.h
 *	  An agent of the platform: a handler in the database, and its name.
 */
#ifndef SENTINAI_SET_AGENT_H
#define SENTINAI_SET_AGENT_H

/* Runs an agent of the platform; the result is the exit status. */
extern int	set_agent_main(const char *program, const char *summary,
						   const char *handler, int argc, char **argv);

#endif							/* SENTINAI_SET_AGENT_H */
