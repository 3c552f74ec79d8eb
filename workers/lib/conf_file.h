/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * conf_file.h
 *	  The form of a configuration file.
 */
#ifndef SENTINAI_CONF_FILE_H
#define SENTINAI_CONF_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "text.h"

/* Longest line. */
#define CONF_LINE_MAX (1024 * 1024)

/* A section when `name` is NULL, otherwise a setting. */
typedef struct ConfLine
{
	int			number;
	const char *section;		/* "" before the first one */
	const char *name;
	const char *value;
} ConfLine;

typedef struct ConfFile
{
	FILE	   *stream;
	int			number;			/* of the last line read */
	char	   *line;
	size_t		size;
	char	   *section;
	const char *error;			/* what is wrong with the last line, or NULL */
} ConfFile;

extern bool conf_file_next(ConfFile *file, ConfLine *line);
extern void conf_file_free(ConfFile *file);
extern void conf_file_add(Text *text, const char *name, const char *value);

#endif							/* SENTINAI_CONF_FILE_H */
