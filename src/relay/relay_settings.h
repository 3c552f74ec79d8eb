/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_settings.h
 *		What a relay is told: where records go, and how they are made.
 */
#ifndef SN_RELAY_SETTINGS_H
#define SN_RELAY_SETTINGS_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "queue/stream.h"
#include "relay/record.h"
#include "relay/record_rules.h"
#include "relay/relay_limits.h"
#include "relay/relay_provider.h"

typedef struct SnRelaySettings
{
	text	   *name;			/* of its subscription, and of its dead letters */
	const SnProvider *provider; /* NULL: no broker is set up */
	char	   *conf;			/* what the broker's library is told */
	SnFilter	filter;			/* of the server's; another's is its subscription's */
	int			workers;		/* processes */
	SnRecordFormat format;
	char	   *record_options; /* "": none */
	SnRecordRules *rules;		/* they; NULL: none */
	char	   *transform_owner;	/* of the function they name; "": none */
	SnRelayLimits limits;
	char	   *topic_template; /* "": the format's default */
	char	   *control_topic;	/* "": none */
	char	   *dead_letter_topic;	/* "": none */
} SnRelaySettings;

extern List *sn_relay_type_list(char *list);
extern const SnProvider *sn_relay_provider(const char *name);
extern SnRecordFormat sn_relay_format(const char *name);
extern SnRecordRules *sn_relay_rules(const char *record_options);
extern bool sn_relay_settings_of_row(int sub_id, SnRelaySettings *settings);
extern bool sn_relay_settings_same(const SnRelaySettings *a,
								   const SnRelaySettings *b);
extern SnRelayLimits sn_relay_limits_of(const char *limits);
extern int	sn_relay_window(const SnRelaySettings *settings);
extern double sn_relay_share(const SnRelaySettings *settings, int limit);
extern int	sn_relay_tail(const SnRelaySettings *settings);
extern void sn_relay_settings_of_server(SnRelaySettings *settings);

#endif							/* SN_RELAY_SETTINGS_H */
