/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * secret.h
 *	  Secrets of webhooks, from files.
 */
#ifndef SENTINAI_SECRET_H
#define SENTINAI_SECRET_H

#include <stddef.h>

/* Longest secret, in bytes. */
#define SECRET_MAX 8192

extern char *secret_read(const char *directory, const char *owner,
						 const char *name, const char **error);
extern void secret_free(char *secret);
extern void secret_hide(char *text, size_t length, const char *secret);

#endif							/* SENTINAI_SECRET_H */
