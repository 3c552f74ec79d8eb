/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_core.h
 *		The relay without its host: what is sent, answered, sent again.
 *
 * The host (relay.c in the server, or a process on libpq) reads events in
 * order, pushes them, calls turn() and asks how far each lane got; the core
 * talks to the broker.  Pure C, malloc only, one thread.
 *
 * Order: events of a lane are sent in the order they were pushed and the
 * lane's position passes an event only when it and all before it are done, so
 * a host that starts again from the last position it stored sends at least
 * once, in order, and repeats at most what was in the window.
 */
#ifndef SN_RELAY_CORE_H
#define SN_RELAY_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "breaker.h"
#include "broker.h"
#include "record.h"

typedef struct SnRelayCoreConfig
{
	const SnBrokerProvider *provider;
	SnBrokerConfig broker;
	SnRecordFormat format;
	bool		occurred_timestamp;	/* of records; else that of sending */
	const char *topic_template;
	const char *database;
	int			lanes;
	int			max_events;		/* in the window */
	size_t		max_bytes;		/* of the events in the window */
	int			topic_partitions;	/* 0: the broker creates topics */
	int			topic_replication;
	int			breaker_failures;
	int64_t		breaker_open_ms;
} SnRelayCoreConfig;

/* In place of a position: an event out of the lane's order, sent once more */
#define SN_REDRIVEN		(-1)
#define SN_MAX_REDRIVEN	100		/* of them in the window */

/* An event the broker will never take; strings live until the next call */
typedef struct SnRefused
{
	int			lane;
	bool		redriven;		/* it was pushed as SN_REDRIVEN */
	char		event_id[37];
	const char *error;
} SnRefused;

typedef struct SnRelayCoreStats
{
	int			window;			/* events pushed and not done */
	int			inflight;		/* of these, sent */
	uint64_t	sent;
	uint64_t	acked;
	uint64_t	errors;
	uint64_t	refused;
	uint64_t	passed;			/* events that left the window */
	SnBreakerState breaker;
	const char *last_error;		/* "" when there was none */
} SnRelayCoreStats;

typedef struct SnRelayCore SnRelayCore;

extern SnRelayCore *sn_relay_core_open(const SnRelayCoreConfig *config,
									   char *err, size_t err_len);
extern void sn_relay_core_close(SnRelayCore *core, int timeout_ms);
extern int	sn_relay_core_room(const SnRelayCore *core);
extern bool sn_relay_core_push(SnRelayCore *core, int lane, int64_t next_pos,
							   const SnRecordEvent *event);
extern int64_t sn_relay_core_turn(SnRelayCore *core, int64_t now_ms);
extern void sn_relay_core_settle(SnRelayCore *core, int64_t now_ms);
extern bool sn_relay_core_waits(const SnRelayCore *core);
extern bool sn_relay_core_has_news(const SnRelayCore *core);
extern int	sn_relay_core_wake_fd(const SnRelayCore *core);
extern bool sn_relay_core_progress(SnRelayCore *core, int lane, int64_t *pos);
extern bool sn_relay_core_redriven(SnRelayCore *core, int *lane,
								   char event_id[37]);
extern bool sn_relay_core_refused(SnRelayCore *core, SnRefused *refused);
extern void sn_relay_core_stats(const SnRelayCore *core,
								SnRelayCoreStats *stats);

#endif							/* SN_RELAY_CORE_H */
