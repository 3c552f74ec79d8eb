/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * drop_partition.h
 *		Dropping partitions, or leaving them while somebody holds them.
 */
#ifndef SN_DROP_PARTITION_H
#define SN_DROP_PARTITION_H

#include "postgres.h"

#include "shared/shmem.h"
#include "store/range.h"
#include "store/store.h"

extern bool sn_drop_left(SnRel set, Oid partition);
extern void sn_drop_or_leave(SnRel set, const SnPartRange *partition,
							 const SnMark *mark);
extern void sn_drop_pass_end(void);

#endif							/* SN_DROP_PARTITION_H */
