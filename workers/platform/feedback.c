/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * feedback.c
 *	  sentinai-feedback: notes what became of exceptions, and how long it took.
 */
#include "set_agent.h"

int
main(int argc, char **argv)
{
	return set_agent_main("sentinai-feedback",
						  "notes what became of exceptions, and how long it took",
						  "feedback", argc, argv);
}
