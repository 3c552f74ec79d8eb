/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * weight.h
 *		The weights of tenants.
 */
#ifndef SN_WEIGHT_H
#define SN_WEIGHT_H

#define SN_WEIGHT_MAX 100

#endif							/* SN_WEIGHT_H */
