/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tenant_scan.h
 *		Queries on the log read the tenants that may be read, and no others.
 */
#ifndef SN_TENANT_SCAN_H
#define SN_TENANT_SCAN_H

#include "postgres.h"

#include "nodes/extensible.h"
#include "nodes/primnodes.h"

extern void sn_tenant_scan_init(void);

/* tenant_rows.c */
extern Node *sn_tenant_rows_state(CustomScan *plan);

#endif							/* SN_TENANT_SCAN_H */
