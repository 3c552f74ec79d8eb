/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * hold.h
 *		Locks of a tenant's operator that other tenants wait for.
 */
#ifndef SN_HOLD_H
#define SN_HOLD_H

extern void sn_hold_briefly(void);

#endif							/* SN_HOLD_H */
