/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_state.h
 *		What the files of the relay's core share.  Not for hosts.
 */
#ifndef SN_RELAY_STATE_H
#define SN_RELAY_STATE_H

#include "relay/relay_core.h"
#include "relay/relay_entry.h"
#include "relay/relay_later.h"
#include "relay/relay_limits.h"
#include "relay/relay_tail.h"
#include "relay/relay_topic.h"
#include "relay/relay_window.h"

#define SN_ERROR_TEXT	512		/* "topic", its name, and an error */

struct SnRelayCore
{
	SnRelayCoreConfig config;
	SnBroker   *broker;
	SnRecordMaker *maker;
	SnBreaker	breaker;
	SnBucket	events;			/* what may go in a second */
	SnBucket	bytes;
	SnWindow	window;
	SnTopicTable topics;
	SnLater		later;			/* keys of what the cursor passed over */
	SnTailIds	tail;			/* what topics have at their ends */
	int			inflight;
	int			nasked;			/* topics */
	int64_t		asked_at;		/* with none asked before, or last answer */
	int64_t		answered_at;	/* about a topic; 0: never */
	int64_t		acked_at;		/* time of the last acknowledgement */
	bool		recover;		/* a new producer is needed */
	bool		isolate;		/* the one running sends one by one */
	bool		want_isolate;
	uint64_t	seen_failures;
	int64_t		stalled_at;		/* last time a stall was counted */
	SnRelayCoreStats stats;
	char		last_error[SN_ERROR_TEXT];
	char		news_topic[SN_RECORD_MAX_TOPIC + 1];
	char		news_error[SN_ERROR_TEXT];
};

/* relay_back.c */
extern bool sn_core_read_back(SnRelayCore *core, SnTopic *topic,
							  int64_t now_ms);
extern bool sn_core_is_there(const SnRelayCore *core,
							 const SnWindowEntry *entry);

/* relay_send.c */
extern void sn_core_send(SnRelayCore *core, int64_t now_ms);
extern int64_t sn_core_limited(SnRelayCore *core, int64_t now_ms);

/* relay_answer.c */
extern void sn_core_take_reports(SnRelayCore *core, int64_t now_ms);
extern void sn_core_drain(SnRelayCore *core, int64_t now_ms);

/* relay_hold.c */
extern void sn_core_hold(SnRelayCore *core, SnTopic *topic, const char *error,
						 int64_t now_ms);
extern void sn_core_release(SnRelayCore *core, SnWindowEntry *entry);
extern void sn_core_topic_taken(SnRelayCore *core, SnTopic *topic,
								int64_t now_ms);
extern void sn_core_topic_report(SnRelayCore *core,
								 const SnBrokerReport *report,
								 int64_t now_ms);
extern void sn_core_work_topic(SnRelayCore *core, SnTopic *topic,
							   int64_t now_ms);
extern void sn_core_work_topics(SnRelayCore *core, int64_t now_ms);
extern void sn_core_forget_requests(SnRelayCore *core, int64_t now_ms);
extern int64_t sn_core_next_topic(const SnRelayCore *core, int64_t now_ms);
extern int	sn_core_trials(const SnRelayCore *core);

#endif							/* SN_RELAY_STATE_H */
