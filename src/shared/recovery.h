/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * recovery.h
 *		Whether this cluster is a copy that came out of a backup.
 */
#ifndef SN_RECOVERY_H
#define SN_RECOVERY_H

#include "postgres.h"

extern void sn_recovery_init(void);
extern int64 sn_recovery_id(void);
extern void sn_recovery_finished(void);

#endif							/* SN_RECOVERY_H */
