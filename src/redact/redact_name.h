/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_name.h
 *		Names of members, which are the same when Unicode says so.
 */
#ifndef SN_REDACT_NAME_H
#define SN_REDACT_NAME_H

#include "postgres.h"

#include "registry/json_walk.h"

extern bool sn_name_is_ascii(const char *name, int len);
extern void sn_name_normalize(SnJsonKey *key);

#endif							/* SN_REDACT_NAME_H */
