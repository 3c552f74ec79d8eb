/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * fake_broker.h
 *		A broker made of arrays, and a relay's core over it.
 */
#ifndef FAKE_BROKER_H
#define FAKE_BROKER_H

#include "relay/relay_core.h"

#define MAX_LOG 4096
#define LANES 4

/* A broker that stores what the test lets it store */
struct SnBroker
{
	uint64_t	queue[MAX_LOG]; /* sent, not answered, in order */
	char		ids[MAX_LOG][40];	/* event ids of the queue */
	int			queued;
	SnBrokerReport reports[MAX_LOG];
	int			nreports;
	char		stored[MAX_LOG][40];
	int			nstored;
	int			restarts;
	bool		isolate;
	bool		stopped;
	int			full_after;		/* send() says FULL beyond so many queued */
	const char *refuse_topic;	/* create_topic() answers REFUSED */
	const char *no_topic;		/* send() answers NO_TOPIC */
	const char *refuse_id;		/* this event is never taken */
	const char *later_id;		/* this event has to wait for an answer */
	uint64_t	failures;
	bool		topics_away;	/* create_topic() answers RETRY */
	bool		topics_silent;	/* create_topic() gets no answer */
	int			topics_asked;
	int			topics_told;	/* that cannot be written */
	int64_t		stalled_ms;
	SnTailResult tail;			/* what tail() answers; its ids are those stored */
	int			tails;			/* asked for */
	const char *tail_of;		/* the only topic that has them; NULL: all */
};

extern SnBroker fake;
extern int	read_back;			/* what a core that is opened reads back */
extern double events_per_second;	/* and its limits */
extern double bytes_per_second;

extern void add_report(SnReportKind kind, SnReportStatus status, bool alone,
					   uint64_t op);
extern void answer(int n, SnReportStatus status, bool alone);
extern SnRelayCore *open_core(int max_events, size_t max_bytes);
extern SnRelayCore *open_core_with(int max_events, size_t max_bytes,
								   const char *control_topic);
extern const char *id_of(int n);
extern SnRecordEvent event_of(int n, const char *aggregate_type);
extern void push_of(SnRelayCore *core, int n, int lane,
					const char *aggregate_type, const char *aggregate_id);
extern void push_to(SnRelayCore *core, int n, int lane,
					const char *aggregate_type);
extern void push(SnRelayCore *core, int n, int lane);
extern void push_first(SnRelayCore *core, int n);
extern bool next_refused(SnRelayCore *core, SnNews *news);
extern void turns(SnRelayCore *core, int n, int64_t now);
extern void assert_stored(int n, ...);

#endif							/* FAKE_BROKER_H */
