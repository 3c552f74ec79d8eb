/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * leaf.h
 *		The digest of an event.
 */
#ifndef SN_LEAF_H
#define SN_LEAF_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "audit/merkle.h"

extern void sn_leaf(const Datum *values, const bool *nulls, SnDigest *digest);
extern void sn_leaf_fields(StringInfo json, const Datum *values,
						   const bool *nulls);

#endif							/* SN_LEAF_H */
