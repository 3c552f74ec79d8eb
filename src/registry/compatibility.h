/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * compatibility.h
 *		What a version has to be for those who know another one.
 */
#ifndef SN_COMPATIBILITY_H
#define SN_COMPATIBILITY_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/snapshot.h"


/* bits */
typedef enum SnCompatibility
{
	SN_COMPATIBLE_NONE = 0,
	SN_COMPATIBLE_BACKWARD = 1,
	SN_COMPATIBLE_FORWARD = 2,
	SN_COMPATIBLE_ALL = 4		/* with all versions before, not the newest alone */
} SnCompatibility;

extern SnCompatibility sn_compatibility(const text *name);
extern void sn_compatibility_check(const text *event_type, int32 version,
								   Jsonb *schema,
								   SnCompatibility mode, Snapshot snapshot);

#endif							/* SN_COMPATIBILITY_H */
