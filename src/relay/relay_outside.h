/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_outside.h
 *		A session that works for a sentinai-relay.
 */
#ifndef SN_RELAY_OUTSIDE_H
#define SN_RELAY_OUTSIDE_H

extern void sn_relay_require_open(void);

#endif							/* SN_RELAY_OUTSIDE_H */
