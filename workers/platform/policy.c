/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * policy.c
 *	  sentinai-policy: asks what may be done, and carries out what people decide.
 */
#include "set_agent.h"

int
main(int argc, char **argv)
{
	return set_agent_main("sentinai-policy",
						  "asks what may be done, and carries out what people decide",
						  "policy", argc, argv);
}
