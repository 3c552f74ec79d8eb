/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * text.h
 *	  A growing text buffer, JSON writing and UTF-8 cleaning.
 */
#ifndef SENTINAI_TEXT_H
#define SENTINAI_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed is empty.  `data` is always terminated once something was added. */
typedef struct Text
{
	char	   *data;
	size_t		length;
	size_t		size;
	bool		failed;			/* out of memory: all later calls do nothing */
} Text;

extern void text_add(Text *text, const char *string);
extern void text_add_bytes(Text *text, const char *bytes, size_t length);
extern void text_add_json_string(Text *text, const char *string);
extern void text_add_json_member(Text *text, const char *name,
								 const char *value, bool raw);
extern void text_free(Text *text);
extern bool text_is_utf8(const char *string);
extern void text_clean(char *destination, size_t size, const char *source,
					   size_t length);

#endif							/* SENTINAI_TEXT_H */
