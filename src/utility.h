/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * utility.h
 *		What other people's commands mean for the workers.
 */
#ifndef SN_UTILITY_H
#define SN_UTILITY_H

#include "postgres.h"

extern void sn_utility_init(void);

#endif							/* SN_UTILITY_H */
