/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_transform.h
 *		A function in SQL that says what is sent of an event.
 */
#ifndef SN_RELAY_TRANSFORM_H
#define SN_RELAY_TRANSFORM_H

#include "postgres.h"

typedef enum SnTransformKind
{
	SN_TRANSFORM_SENDS,			/* the payload */
	SN_TRANSFORM_TOMBSTONE,		/* no payload: it returned a JSON null */
	SN_TRANSFORM_DROPS,			/* nothing: it returned null */
	SN_TRANSFORM_FAILS			/* why */
} SnTransformKind;

typedef struct SnTransformed
{
	SnTransformKind kind;
	Datum		payload;		/* jsonb, in the memory context of the call */
	const char *error;
} SnTransformed;

extern char *sn_transform_owner(const char *name);
extern void sn_transform_ready(void);
extern bool sn_transform_late(void);
extern void sn_transform(const Datum *values, const bool *nulls,
						 SnTransformed *result);

#endif							/* SN_RELAY_TRANSFORM_H */
