/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * clock.h
 *		The clocks: event ids and the UUIDv7 made from them, and the time that
 *		leases go by.
 */
#ifndef SN_CLOCK_H
#define SN_CLOCK_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * A tick is 1/4096 of a millisecond since 1970: 48 bits of milliseconds and 12
 * bits below, just what a UUIDv7 holds before its random part.
 */
typedef uint64 SnTick;

#define SN_TICK_BITS	12

/* microseconds from the epoch of Unix to that of PostgreSQL's timestamps */
#define SN_UNIX_EPOCH_US \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

#define SN_TICK_MS(tick)	((int64) ((tick) >> SN_TICK_BITS))

extern TimestampTz sn_now(void);
extern SnTick sn_clock_take(int n);
extern void sn_clock_raise(SnTick floor);
extern SnTick sn_clock_now(void);
extern SnTick sn_clock_last(void);
extern void sn_uuid_make(SnTick tick, pg_uuid_t *uuid);
extern SnTick sn_uuid_tick(const pg_uuid_t *uuid);
extern void sn_uuid_floor_tick(SnTick tick, pg_uuid_t *uuid);
extern void sn_uuid_floor(int64 ms, pg_uuid_t *uuid);
extern TimestampTz sn_ms_timestamp(int64 ms);
extern TimestampTz sn_tick_timestamp(SnTick tick);
extern int64 sn_timestamp_ms(TimestampTz t);

/* sn_uuid_cmp: order of ids, as the uuid type's */
#define sn_uuid_cmp(a, b) memcmp((a)->data, (b)->data, UUID_LEN)

#endif							/* SN_CLOCK_H */
