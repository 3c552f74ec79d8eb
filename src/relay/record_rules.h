/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * record_rules.h
 *		What a relay's record_options say: key, headers, topics, tombstones.
 *
 * Pure C, malloc only.
 */
#ifndef SN_RECORD_RULES_H
#define SN_RECORD_RULES_H

#include <stdbool.h>
#include <stddef.h>

struct SnRecordEvent;

#define SN_RULES_MAX_ITEMS 64	/* of a list */
#define SN_RULES_MAX_HEADERS 32 /* of both lists of headers together */
#define SN_RULES_MAX_TIMEOUT 5000	/* ms of transform.timeout.ms */
#define SN_RULES_MAX_VALUE 1024 /* bytes of a header's value, and of the key's
								 * template */

/* The options there are, for hints */
#define SN_RECORD_RULES_ARE \
	"The options are key, headers, headers.metadata, topics, tombstones, dead.letter.topic, dead.letter.headers, transform, transform.timeout.ms and dedupe."

/* Whose names the headers of the dead-letter topic have */
typedef enum SnDeadHeaders
{
	SN_DEAD_BOTH,
	SN_DEAD_CONNECT,
	SN_DEAD_SPRING
} SnDeadHeaders;

/* An item of a list: "name:value", or a name alone */
typedef struct SnRecordItem
{
	char	   *name;
	char	   *value;			/* NULL: none */
} SnRecordItem;

typedef struct SnRecordItems
{
	int			n;
	SnRecordItem items[SN_RULES_MAX_ITEMS];
} SnRecordItems;

typedef struct SnRecordRules
{
	char	   *key;			/* template; NULL: the format's key */
	SnRecordItems headers;		/* names and what they are */
	SnRecordItems metadata;		/* keys of the metadata, and the headers that they
								 * are; NULL: none, the key has a use for it */
	SnRecordItems topics;		/* event types and templates */
	SnRecordItems tombstones;	/* event types */
	char	   *dead_letter_topic;	/* NULL: none */
	SnDeadHeaders dead_letter_headers;
	char	   *transform;		/* name of a function, for the host; NULL: none */
	int			transform_timeout_ms;
	bool		dedupe_tail;	/* what topics have at their ends is not sent */
} SnRecordRules;

extern SnRecordRules *sn_record_rules_parse(const char *text, char *err,
											size_t err_len);
extern void sn_record_rules_free(SnRecordRules *rules);
extern const char *sn_record_rules_topic(const SnRecordRules *rules,
										 const char *event_type);
extern bool sn_record_rules_tombstone(const SnRecordRules *rules,
									  const char *event_type);
extern const char *sn_record_rules_value(const struct SnRecordEvent *event,
										 int n);
extern bool sn_record_rules_key(const SnRecordRules *rules,
								const struct SnRecordEvent *event, char *out,
								size_t *len);

#endif							/* SN_RECORD_RULES_H */
