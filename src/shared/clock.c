/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * clock.c
 *		The cluster's event clock and the UUIDv7 (RFC 9562) made from it; the
 *		time that leases, retries and naps go by.
 *
 * The clock is one number in shared memory that follows the wall clock and
 * never goes back: a tick is taken by compare-and-swap, as the greater of the
 * wall clock and the last tick plus one.  So of two transactions that ran one
 * after the other the later one has the greater ids, whatever the wall clock
 * did in between.  After a start the clock is raised above the newest stored
 * id before the first tick is taken (see sn_store_ready()).
 *
 * How long something lasts is not measured with the wall clock, which may be
 * set: a step forward would end every lease, a step back would keep the batch
 * of a crashed agent for as long.  sn_now() is the wall clock at the server's
 * start, carried on by a clock that nobody sets.
 */
#include "postgres.h"

#include <sys/time.h>
#include <time.h>

#include "common/int.h"
#include "common/pg_prng.h"

#include "base/steady.h"
#include "shared/clock.h"
#include "shared/shmem.h"

/* sn_now: the time that leases, retries and naps go by */
TimestampTz
sn_now(void)
{
	return sn_shared()->time_offset + sn_steady_us();
}

/* sn_clock_now: the wall clock as a tick */
SnTick
sn_clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ((SnTick) ts.tv_sec * 1000 + ts.tv_nsec / 1000000) << SN_TICK_BITS |
		((SnTick) (ts.tv_nsec % 1000000) << SN_TICK_BITS) / 1000000;
}

/* sn_clock_last: what the next tick will at least be */
SnTick
sn_clock_last(void)
{
	return Max(sn_clock_now(), pg_atomic_read_u64(&sn_shared()->clock));
}

/*
 * sn_clock_take: reserve n consecutive ticks, greater than all that were ever
 * taken, and return the first.
 */
SnTick
sn_clock_take(int n)
{
	pg_atomic_uint64 *clock = &sn_shared()->clock;
	uint64		last = pg_atomic_read_u64(clock);

	for (;;)
	{
		SnTick		first = Max(sn_clock_now(), last + 1);

		if (pg_atomic_compare_exchange_u64(clock, &last, first + n - 1))
			return first;
	}
}

/* sn_clock_raise: no tick up to floor will be given out from now on */
void
sn_clock_raise(SnTick floor)
{
	pg_atomic_uint64 *clock = &sn_shared()->clock;
	uint64		last = pg_atomic_read_u64(clock);

	while (last < floor &&
		   !pg_atomic_compare_exchange_u64(clock, &last, floor))
		;
}

/* put_leading: the leading 64 bits of a UUIDv7 */
static void
put_leading(SnTick tick, uint16 version, pg_uuid_t *uuid)
{
	uint64		ms = tick >> SN_TICK_BITS;
	uint16		sub = tick & ((1 << SN_TICK_BITS) - 1);
	int			i;

	for (i = 0; i < 6; i++)
		uuid->data[i] = (unsigned char) (ms >> (40 - 8 * i));
	uuid->data[6] = (unsigned char) (version << 4 | sub >> 8);
	uuid->data[7] = (unsigned char) (sub & 0xff);
}

/* sn_uuid_make: a UUIDv7 of this tick, its last 62 bits random */
void
sn_uuid_make(SnTick tick, pg_uuid_t *uuid)
{
	uint64		rnd = pg_prng_uint64(&pg_global_prng_state);

	put_leading(tick, 7, uuid);
	memcpy(uuid->data + 8, &rnd, 8);
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
}

/* sn_uuid_tick: the tick in a UUIDv7 */
SnTick
sn_uuid_tick(const pg_uuid_t *uuid)
{
	uint64		ms = 0;
	int			i;

	for (i = 0; i < 6; i++)
		ms = ms << 8 | uuid->data[i];
	return ms << SN_TICK_BITS | (uuid->data[6] & 0x0f) << 8 | uuid->data[7];
}

/* sn_uuid_floor_tick: the least value that sorts with ids of a tick or later */
void
sn_uuid_floor_tick(SnTick tick, pg_uuid_t *uuid)
{
	memset(uuid->data, 0, UUID_LEN);
	put_leading(tick, 7, uuid);
}

/* sn_uuid_floor: the least value that sorts with ids of ms or later */
void
sn_uuid_floor(int64 ms, pg_uuid_t *uuid)
{
	memset(uuid->data, 0, UUID_LEN);
	put_leading((SnTick) Max(ms, 0) << SN_TICK_BITS, 0, uuid);
}

/* sn_ms_timestamp: milliseconds since 1970 as a timestamp */
TimestampTz
sn_ms_timestamp(int64 ms)
{
	return ms * 1000 - SN_UNIX_EPOCH_US;
}

/* sn_tick_timestamp: a tick as a timestamp */
TimestampTz
sn_tick_timestamp(SnTick tick)
{
	int64		sub = tick & ((1 << SN_TICK_BITS) - 1);

	return sn_ms_timestamp(SN_TICK_MS(tick)) + ((sub * 1000) >> SN_TICK_BITS);
}

/*
 * sn_timestamp_ms: a finite timestamp as milliseconds since 1970; the last 30 of
 * the years that there are become one time
 */
int64
sn_timestamp_ms(TimestampTz t)
{
	int64		us;

	if (pg_add_s64_overflow(t, SN_UNIX_EPOCH_US, &us))
		us = PG_INT64_MAX;
	return us / 1000;
}
