/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_core.h
 *		The relay without its host: what is sent, answered, sent again.
 *
 * The host (relay_main.c in the server, or a process on libpq) reads events in
 * order, pushes them, calls turn() and asks how far each lane got; the core
 * talks to the broker.  Pure C, malloc only, one thread.
 *
 * Order: events of a lane are sent in the order they were pushed and the
 * lane's position passes an event only when it and all before it are done, so
 * a host that starts again from the last position it stored sends at least
 * once, in order, and repeats at most what was in the window.
 *
 * Parked events: those of a topic that cannot be written are handed back, each
 * as soon as it is the first of its lane, for the host to keep them with the
 * topic's name as their label; the lane goes on.  The core asks for them again
 * (wants) by label, when the topic seems to be there, and sends no newer event
 * of the topic before it has had all of them.  The host may push events of its
 * own without a label, out of any order, dead letters say.
 */
#ifndef SN_RELAY_CORE_H
#define SN_RELAY_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/breaker.h"
#include "broker/broker.h"
#include "relay/record.h"

typedef struct SnRelayCoreConfig
{
	const SnBrokerProvider *provider;
	SnBrokerConfig broker;
	SnRecordOptions record;
	int			lanes;
	int			max_events;		/* in the window */
	size_t		max_bytes;		/* of the events in the window */
	int			tail;			/* records to read back of each partition before
								 * it is written; 0: none */
	int			topic_partitions;	/* 0: the broker creates topics */
	int			topic_replication;
	int			breaker_failures;
	int64_t		breaker_open_ms;
	double		events_per_second;	/* 0: no limit */
	double		bytes_per_second;	/* of values */

	/* told when a topic is held, and without an error when it no longer is */
	void		(*topic_changed) (const char *topic, const char *error);
} SnRelayCoreConfig;

/* Parked events in the window, beside those of the lanes */
#define SN_MAX_PARKED	1000

/* What became of an event; strings live until the next call */
typedef enum SnNewsKind
{
	SN_NEWS_ARRIVED,			/* a parked one was acknowledged */
	SN_NEWS_REFUSED,			/* it can never be sent */
	SN_NEWS_UNWANTED,			/* a parked one is not to be sent */
	SN_NEWS_HELD				/* a parked one without a label: its topic */
} SnNewsKind;

typedef struct SnNews
{
	SnNewsKind	kind;
	int			lane;
	int64_t		pos;			/* of the event, or of its row */
	bool		parked;			/* it was pushed as such */
	bool		labelled;		/* with a label */
	char		event_id[37];
	const char *topic;			/* NULL: none could be made */
	const char *error;
} SnNews;

/* An event to be parked, as its topic cannot be written now */
typedef struct SnHeld
{
	int64_t		pos;
	const SnRecordEvent *event;
	const char *topic;
	const char *error;
} SnHeld;

/* Parked events that the core can use now */
typedef struct SnWant
{
	int			number;
	const char *topic;
	int			max;			/* events */
	size_t		max_bytes;
} SnWant;

typedef struct SnRelayCoreStats
{
	int			window;			/* events pushed and not done */
	int			inflight;		/* of these, sent */
	uint64_t	sent;
	uint64_t	acked;
	uint64_t	errors;
	uint64_t	refused;
	int			held;			/* topics that cannot be written now */
	bool		limited;		/* events wait for what may go in a second */
	SnBreakerState breaker;
	const char *last_error;		/* "" when there was none */
} SnRelayCoreStats;

typedef struct SnRelayCore SnRelayCore;

extern SnRelayCore *sn_relay_core_open(const SnRelayCoreConfig *config,
									   char *err, size_t err_len);
extern void sn_relay_core_close(SnRelayCore *core, int timeout_ms);
extern int	sn_relay_core_room(const SnRelayCore *core);
extern bool sn_relay_core_push(SnRelayCore *core, int lane, int64_t next_pos,
							   const SnRecordEvent *event,
							   const char *error);
extern int64_t sn_relay_core_turn(SnRelayCore *core, int64_t now_ms);
extern void sn_relay_core_settle(SnRelayCore *core, int64_t now_ms);
extern bool sn_relay_core_waits(const SnRelayCore *core);
extern int	sn_relay_core_wake_fd(const SnRelayCore *core);
extern int	sn_relay_core_progress(SnRelayCore *core, int lane, int64_t *pos);
extern uint64_t sn_relay_core_news_in(SnRelayCore *core);
extern bool sn_relay_core_news(SnRelayCore *core, uint64_t lanes,
							   SnNews *news);
extern void sn_relay_core_stats(const SnRelayCore *core,
								SnRelayCoreStats *stats);

/* parked events */
extern bool sn_relay_core_held(SnRelayCore *core, int lane, SnHeld *held);
extern void sn_relay_core_parked(SnRelayCore *core, int lane);
extern bool sn_relay_core_has_parked(SnRelayCore *core, const char *topic,
									 const char *error, int64_t now_ms);
extern bool sn_relay_core_topic_of(SnRelayCore *core,
								   const SnRecordEvent *event, char *topic);
extern bool sn_relay_core_wants(SnRelayCore *core, SnWant *want);
extern int	sn_relay_core_parked_room(const SnRelayCore *core);
extern bool sn_relay_core_push_parked(SnRelayCore *core, int number, int lane,
									  int64_t pos, const SnRecordEvent *event,
									  const char *error);
extern void sn_relay_core_fetched(SnRelayCore *core, int number, bool all);
extern const char *sn_relay_core_waiting(const SnRelayCore *core, int *number);

#endif							/* SN_RELAY_CORE_H */
