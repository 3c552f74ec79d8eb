/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * partition.h
 *		Making partitions: ahead, when a publisher misses one, and when people ask
 *		for them.
 */
#ifndef SN_PARTITION_H
#define SN_PARTITION_H

#include "postgres.h"

#include "store/store.h"

extern void sn_partition_make(SnRel parent, int64 ms);
extern bool sn_partition_ahead(int64 ms);
extern int	sn_make_all_partitions(TimestampTz until);
extern int	sn_index_partitions(int left);
extern bool sn_partition_locked(void);
extern bool sn_partition_in_hands(void);

#endif							/* SN_PARTITION_H */
