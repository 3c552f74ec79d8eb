/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_format.h
 *		The keyword format of JSON Schema, as an assertion.
 */
#ifndef SN_SCHEMA_FORMAT_H
#define SN_SCHEMA_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct SnFormat
{
	const char *name;
	bool		(*matches) (const char *text, size_t len);
} SnFormat;

extern const SnFormat *sn_format_find(const char *name, size_t len);

#endif							/* SN_SCHEMA_FORMAT_H */
