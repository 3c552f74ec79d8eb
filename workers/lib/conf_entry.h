/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * conf_entry.h
 *	  What conf.c and conf_print.c share: the options and their values.
 */
#ifndef SENTINAI_CONF_ENTRY_H
#define SENTINAI_CONF_ENTRY_H

#include "conf.h"

/* Stands for a secret in the output of --show-config. */
#define CONF_HIDDEN "********"

typedef struct ConfEntry
{
	const AgentOption *option;
	char	   *base;			/* of the settings struct */
	ConfSource	source;
	const char *env;			/* variable the value came from */
	char	   *flag;			/* argument of the flag, when given */
	int			line;			/* of the file that the value came from */
	bool		in_common;		/* seen in the common section */
	bool		in_own;			/* seen in the program's section */
} ConfEntry;

extern const AgentOption conf_library_options[];

extern bool conf_is_flag_only(const AgentOption *option);
extern void conf_env_name(const AgentOption *option, char *buffer,
						  size_t size);

#endif							/* SENTINAI_CONF_ENTRY_H */
