/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * dropped.h
 *		Which partitions of the log retention has dropped.
 */
#ifndef SN_DROPPED_H
#define SN_DROPPED_H

#include "postgres.h"

#include "utils/uuid.h"

#include "store/range.h"

extern void sn_dropped_write(const SnRange *ids);
extern bool sn_dropped_has(const pg_uuid_t *upper);

#endif							/* SN_DROPPED_H */
