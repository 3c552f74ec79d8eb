/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_path.h
 *		Paths that say which values of an event are redacted.
 *
 * Pure C.
 */
#ifndef SN_REDACT_PATH_H
#define SN_REDACT_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define SN_PATH_MAX			512 /* bytes, as it is given */
#define SN_PATH_STEPS_MAX	16
#define SN_PATH_INDEX_MAX	999999
#define SN_PATH_TEXT_MAX	(6 * SN_PATH_MAX + 64)	/* in the one form */

/* What a path begins at */
typedef enum SnPathRoot
{
	SN_ROOT_PAYLOAD,			/* $ */
	SN_ROOT_METADATA,			/* $metadata */
	SN_ROOT_ERROR				/* $error: texts of agents */
} SnPathRoot;

typedef enum SnStepKind
{
	SN_STEP_MEMBER,				/* .name */
	SN_STEP_ANY,				/* .*: members and items */
	SN_STEP_ITEM,				/* [n] */
	SN_STEP_ANY_ITEM			/* [*] */
} SnStepKind;

typedef struct SnPathStep
{
	SnStepKind	kind;
	bool		deep;			/* at any depth below: ..name, ..* */
	int			index;			/* of an item */
	int			name;			/* of a member: where it begins in names */
	int			len;
} SnPathStep;

typedef struct SnPath
{
	SnPathRoot	root;
	int			nsteps;
	SnPathStep	steps[SN_PATH_STEPS_MAX];
	char		names[SN_PATH_MAX];
} SnPath;

extern bool sn_path_parse(const char *text, size_t len, SnPath *path,
						  const char **why);
extern size_t sn_path_format(const SnPath *path, char *out);

#endif							/* SN_REDACT_PATH_H */
