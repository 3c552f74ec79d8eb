/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * stop.h
 *	  How the threads learn that they should end, and sleep until then.
 */
#ifndef SENTINAI_STOP_H
#define SENTINAI_STOP_H

#include <stdatomic.h>
#include <stdbool.h>

typedef enum StopLevel
{
	STOP_NOT,
	STOP_DRAIN,					/* claim no more, finish what is started */
	STOP_NOW					/* give back what is not finished */
} StopLevel;

/* Both descriptors become readable, for good, when their level is reached. */
typedef struct Stop
{
	atomic_int	level;
	int			drain_pipe[2];
	int			now_pipe[2];
} Stop;

extern bool stop_init(Stop *stop);
extern void stop_close(Stop *stop);
extern void stop_raise(Stop *stop, StopLevel level);
extern StopLevel stop_level(const Stop *stop);
extern int	stop_fd(const Stop *stop, StopLevel level);
extern bool stop_sleep(const Stop *stop, StopLevel level,
					   long long milliseconds);
extern long long clock_ms(void);
extern long long clock_us(void);

#endif							/* SENTINAI_STOP_H */
