/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * steady.h
 *		A clock that nobody sets.
 */
#ifndef SN_STEADY_H
#define SN_STEADY_H

extern int64 sn_steady_us(void);
extern int64 sn_steady_offset(void);

#endif							/* SN_STEADY_H */
