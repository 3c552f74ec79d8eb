/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * guarded.h
 *		Something that may fail, in a subtransaction.
 */
#ifndef SN_GUARDED_H
#define SN_GUARDED_H

#include "postgres.h"

extern ErrorData *sn_guarded(void (*action) (void *), void *arg,
							 bool (*is_caught) (int sqlerrcode));

#endif							/* SN_GUARDED_H */
