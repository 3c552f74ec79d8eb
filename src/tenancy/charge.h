/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * charge.h
 *		What a call that publishes takes of limits: all of it or nothing.
 */
#ifndef SN_CHARGE_H
#define SN_CHARGE_H

#include "postgres.h"

/* What one call has taken, and what it still has to take */
typedef struct SnCharge SnCharge;

extern void sn_charge_event(const text *tenant_id, int64 bytes);
extern SnCharge *sn_charge_begin(MemoryContext context);
extern void sn_charge_add(SnCharge *charge, const text *tenant_id,
						  int64 events, int64 bytes);
extern void sn_charge_take(SnCharge *charge);
extern void sn_charge_row(SnCharge *charge, const text *tenant_id,
						  int64 bytes);

#endif							/* SN_CHARGE_H */
