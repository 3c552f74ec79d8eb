/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * set_here.h
 *		Settings of the session for a piece of code, and no longer.
 */
#ifndef SN_SET_HERE_H
#define SN_SET_HERE_H

extern void sn_set_here(const char *name, const char *value);
extern int	sn_name_safely(void);

#endif							/* SN_SET_HERE_H */
