/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * secret_file.h
 *		Files that properties of sentinai.kafka_conf name.
 *
 * Pure C, malloc only.
 */
#ifndef SN_SECRET_FILE_H
#define SN_SECRET_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of a secret in a file. */
#define SN_SECRET_MAX (64 * 1024)

extern char *sn_secret_place(const char *directory, const char *name,
							 const char *path, char *err, size_t err_len);
extern char *sn_secret_read(const char *directory, const char *name,
							const char *path, char *err, size_t err_len);
extern void sn_secret_forget(char *secret);
extern bool sn_public_file(const char *name, const char *path,
						   char *err, size_t err_len);

#endif							/* SN_SECRET_FILE_H */
