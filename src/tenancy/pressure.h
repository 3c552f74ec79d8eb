/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pressure.h
 *		What publishers do while a backlog is over its limit.
 */
#ifndef SN_PRESSURE_H
#define SN_PRESSURE_H

#include "postgres.h"

#define SN_PRESSURE_REFUSE	"refuse"
#define SN_PRESSURE_DELAY	"delay"

/* no backlog is over its limit; false also when that has to be looked up */
extern bool sn_no_pressure;

extern void sn_pressure_keep(const text *tenant_id, const text *event_type);
extern void sn_pressure_changed(void);

#endif							/* SN_PRESSURE_H */
