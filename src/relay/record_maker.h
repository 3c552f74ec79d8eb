/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * record_maker.h
 *		What the parts of a maker of records share.  Private to record*.c.
 */
#ifndef SN_RECORD_MAKER_H
#define SN_RECORD_MAKER_H

#include <string.h>

#include "relay/record.h"
#include "relay/record_rules.h"

/* cloudevents have 17 with a trace, and refused events a dozen more */
#define SN_MAX_HEADERS (32 + SN_RULES_MAX_HEADERS)

struct SnRecordMaker
{
	SnRecordFormat format;
	bool		occurred_timestamp;
	char	   *topic_template;
	char	   *control_topic;	/* NULL: control events are not sent */
	char	   *dead_letter_topic;	/* NULL: refused events go nowhere */
	SnRecordRules *rules;		/* NULL: none */
	char	   *source;			/* "/sentinai/<database>/", escaped */
	char		topic[SN_RECORD_MAX_TOPIC + 1];
	bool		one_topic;		/* the template has no placeholder: made once */
	SnRecordHeader headers[SN_MAX_HEADERS];
	int			nheaders;
	int64_t		day;			/* since 1970, the one of date */
	char		date[16];		/* "2025-01-31T" */

	/* Text made for the current record.  Sized before anything is put in. */
	char	   *text;
	size_t		text_size;
	size_t		text_used;
};

/* Length of a text that may be absent. */
static inline size_t
sn_text_len(const char *text)
{
	return text == NULL ? 0 : strlen(text);
}

/* record.c */
extern const char *sn_keep_text(SnRecordMaker *maker, const char *text,
								size_t len);
extern size_t sn_escape_uri(char *out, const char *text);

/* record_headers.c */
extern void sn_put_headers(SnRecordMaker *maker, SnRecordFormat format,
						   const SnRecordEvent *event, const SnRecord *record);
extern bool sn_put_rules(SnRecordMaker *maker, const SnRecordEvent *event,
						 char *err, size_t err_len);
extern void sn_put_envelope(SnRecordMaker *maker, const SnRecordEvent *event,
							SnRecord *record);
extern void sn_put_refused(SnRecordMaker *maker, const SnRecordEvent *event);

#endif							/* SN_RECORD_MAKER_H */
