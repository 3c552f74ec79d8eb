/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outside_health.h
 *	  What sentinai-relay answers over HTTP: is it alive, is it ready, its
 *	  metrics.
 */
#ifndef SENTINAI_OUTSIDE_HEALTH_H
#define SENTINAI_OUTSIDE_HEALTH_H

#include "relay/relay_core.h"

/* What the process is at. */
typedef enum OutsideState
{
	OUTSIDE_DOWN,				/* no answers from the database */
	OUTSIDE_WAITS,				/* another one has the relay */
	OUTSIDE_SENDS,
	OUTSIDE_PAUSED,
	OUTSIDE_STOPS				/* for good: the states before come no more */
} OutsideState;

extern bool outside_health_serve(const char *address, const char *relay,
								 int stuck_after);
extern void outside_health_moves(int milliseconds);
extern void outside_health_state(OutsideState state);
extern void outside_health_connected(void);
extern void outside_health_figures(const SnRelayCoreStats *stats);
extern void outside_health_turn(long long microseconds);

#endif							/* SENTINAI_OUTSIDE_HEALTH_H */
