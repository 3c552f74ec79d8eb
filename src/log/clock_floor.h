/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * clock_floor.h
 *		The event clock is above everything stored.
 */
#ifndef SN_CLOCK_FLOOR_H
#define SN_CLOCK_FLOOR_H

extern void sn_store_ready(void);

#endif							/* SN_CLOCK_FLOOR_H */
