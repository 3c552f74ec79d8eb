/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * asyncapi.h
 *		What the parts of asyncapi() share.  Private to the asyncapi*.c files.
 */
#ifndef SN_ASYNCAPI_H
#define SN_ASYNCAPI_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "relay/relay_settings.h"

/* A version of an event type that the document has */
typedef struct SnApiMessage
{
	char	   *key;			/* its name in the document */
	char	   *event_type;
	int			version;
	char	   *direction;
	char	   *description;	/* or NULL */
	char	   *compatibility;
	char	   *deprecated_since;	/* or NULL */
	Jsonb	   *schema;
	Jsonb	   *examples;
	bool		control;		/* it goes to the topic of control events */
} SnApiMessage;

/* What the records of a relay are like */
typedef struct SnApiRecords
{
	SnRecordFormat format;
	bool		amqp;			/* headers have the names that they have there */
	const SnRecordRules *rules; /* NULL: none */
} SnApiRecords;

/* asyncapi_text.c */
extern void sn_api_name(StringInfo out, const char *name);
extern void sn_api_text(StringInfo out, const char *name, const char *value);
extern void sn_api_ref(StringInfo out, const char *name, const char *place);
extern void sn_api_open(StringInfo out, const char *name);
extern void sn_api_close(StringInfo out);

/* asyncapi_message.c */
extern void sn_api_message(StringInfo out, const SnApiMessage *message,
						   const SnApiRecords *records);
extern void sn_api_schema(StringInfo out, const SnApiMessage *message);
extern void sn_api_shared_schemas(StringInfo out, const SnApiRecords *records,
								  bool control);

/* asyncapi_server.c */
extern void sn_api_servers(StringInfo out, const SnRelaySettings *settings);

#endif							/* SN_ASYNCAPI_H */
