/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * playbook.c
 *	  sentinai-playbook: has the steps of playbooks done, and undone.
 */
#include "set_agent.h"

int
main(int argc, char **argv)
{
	return set_agent_main("sentinai-playbook",
						  "has the steps of playbooks done, and undone",
						  "playbook", argc, argv);
}
