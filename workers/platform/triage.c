/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * triage.c
 *	  sentinai-triage: finds out what exceptions are, and how bad.
 */
#include "set_agent.h"

int
main(int argc, char **argv)
{
	return set_agent_main("sentinai-triage",
						  "finds out what exceptions are, and how bad",
						  "triage", argc, argv);
}
