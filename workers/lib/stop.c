/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * stop.c
 *	  How the threads learn that they should end, and sleep until then.
 *
 * The level only rises.  Closing the write end of a pipe wakes every thread
 * that polls its read end, now and later.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "stop.h"

/* Makes the pipes. */
bool
stop_init(Stop *stop)
{
	atomic_init(&stop->level, STOP_NOT);
	if (pipe2(stop->drain_pipe, O_CLOEXEC) != 0)
		return false;
	if (pipe2(stop->now_pipe, O_CLOEXEC) == 0)
		return true;
	close(stop->drain_pipe[0]);
	close(stop->drain_pipe[1]);
	return false;
}

/* Closes the pipes; no thread may use them any more. */
void
stop_close(Stop *stop)
{
	stop_raise(stop, STOP_NOW);
	close(stop->drain_pipe[0]);
	close(stop->now_pipe[0]);
}

/* Raises the level; only the main thread does. */
void
stop_raise(Stop *stop, StopLevel level)
{
	StopLevel	old = stop_level(stop);

	if (level <= old)
		return;
	atomic_store(&stop->level, (int) level);
	if (old < STOP_DRAIN)
		close(stop->drain_pipe[1]);
	if (level == STOP_NOW)
		close(stop->now_pipe[1]);
}

/* The current level. */
StopLevel
stop_level(const Stop *stop)
{
	return (StopLevel) atomic_load(&stop->level);
}

/* The descriptor that becomes readable at a level. */
int
stop_fd(const Stop *stop, StopLevel level)
{
	return level == STOP_DRAIN ? stop->drain_pipe[0] : stop->now_pipe[0];
}

/* Sleeps; false when the level was reached before the time was over. */
bool
stop_sleep(const Stop *stop, StopLevel level, long long milliseconds)
{
	long long	end = clock_ms() + milliseconds;
	struct pollfd fd = {.fd = stop_fd(stop, level), .events = POLLIN};

	for (;;)
	{
		long long	left = end - clock_ms();

		if (stop_level(stop) >= level)
			return false;
		if (left <= 0)
			return true;
		poll(&fd, 1, left > INT_MAX ? INT_MAX : (int) left);
	}
}

/* Microseconds on a clock that only goes forward. */
long long
clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* Milliseconds on it. */
long long
clock_ms(void)
{
	return clock_us() / 1000;
}
