/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_later.h
 *		Keys with a record that waits for the answer to another.
 *
 * The broker takes some records only after the answer to another one
 * (SN_SEND_LATER).  Those of other keys go on meanwhile; those of the same key
 * must not, even if they could by then.  After a while all are looked at again,
 * answer or not, as the broker may have learnt that they need not wait.  The set holds hashes: two keys may
 * share a place in it, and then one waits for nothing until the next answer.
 *
 * Pure C, part of the relay's core.
 */
#ifndef SN_RELAY_LATER_H
#define SN_RELAY_LATER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/hash.h"
#include "broker/broker.h"

#define SN_LATER_PLACES 4096
#define SN_LATER_MS 100			/* after which it is looked at again anyway */

typedef struct SnLater
{
	bool		any;			/* record that was passed over */
	int64_t		since;			/* when the first of them was */
	uint64_t	keys[SN_LATER_PLACES / 64];
} SnLater;

/* sn_later_has: does a record of this key wait, as far as one can tell? */
static inline bool
sn_later_has(const SnLater *later, const SnRecord *record)
{
	uint32_t	place;

	if (!later->any)
		return false;
	place = (uint32_t) sn_murmur2(record->key, record->key_len) %
		SN_LATER_PLACES;
	return (later->keys[place / 64] & (UINT64_C(1) << place % 64)) != 0;
}

/* sn_later_add: this record waits, and so does what comes behind it */
static inline void
sn_later_add(SnLater *later, const SnRecord *record, int64_t now_ms)
{
	uint32_t	place = (uint32_t) sn_murmur2(record->key, record->key_len) %
	SN_LATER_PLACES;

	later->keys[place / 64] |= UINT64_C(1) << place % 64;
	if (!later->any)
		later->since = now_ms;
	later->any = true;
}

/* sn_later_forget: all are looked at again, in order; were there any? */
static inline bool
sn_later_forget(SnLater *later)
{
	bool		any = later->any;

	if (any)
		memset(later, 0, sizeof(SnLater));
	return any;
}

#endif							/* SN_RELAY_LATER_H */
