/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * partition.h
 *		Making partitions, shared by partition.c and partition_maker.c.
 */
#ifndef SN_PARTITION_H
#define SN_PARTITION_H

#include "postgres.h"

#include "store/store.h"

extern void sn_partition_make(SnRel parent, int64 ms);
extern bool sn_partition_ahead(int64 ms);
extern bool sn_partition_locked(void);

#endif							/* SN_PARTITION_H */
