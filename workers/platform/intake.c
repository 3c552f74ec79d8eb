/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * intake.c
 *	  sentinai-intake: takes exceptions in and makes the fields that all of them have.
 */
#include "set_agent.h"

int
main(int argc, char **argv)
{
	return set_agent_main("sentinai-intake",
						  "takes exceptions in and makes the fields that all of them have",
						  "intake", argc, argv);
}
