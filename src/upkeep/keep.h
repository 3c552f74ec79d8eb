/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * keep.h
 *		Events that outlive their partition of the log.
 */
#ifndef SN_KEEP_H
#define SN_KEEP_H

#include "postgres.h"

#include "shared/shmem.h"
#include "store/range.h"
#include "store/store.h"

extern bool sn_keep(const SnPartRange *partition, const SnMark *mark);
extern bool sn_kept_any(void);
extern bool sn_keep_sweep(const SnMark *mark);

#endif							/* SN_KEEP_H */
