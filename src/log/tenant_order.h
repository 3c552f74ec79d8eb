/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tenant_order.h
 *		The order in which a call writes its events.
 */
#ifndef SN_TENANT_ORDER_H
#define SN_TENANT_ORDER_H

#include "log/event.h"

/* Events of several tenants that are put in order at once */
#define SN_ORDER_MAX 4096

extern const int *sn_order_by_tenant(const SnEvent *events, int n);

#endif							/* SN_TENANT_ORDER_H */
