/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_row.h
 *		Table relay: what create_relay() was told.
 */
#ifndef SN_RELAY_ROW_H
#define SN_RELAY_ROW_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "queue/stream.h"
#include "store/store.h"

typedef struct SnRelayRow
{
	int			sub_id;			/* its subscription */
	const char *broker;
	const char *conf;			/* what the broker's library is told */
	const char *topic_template; /* "": the format's default */
	const char *record_format;
	const char *record_options; /* "": none */
	const char *transform_owner;	/* of the function that they name; "": none */
	const char *limits;			/* "": none */
	int			workers;
	bool		paused;
	int			node_no;		/* when that was decided */
	int64		recovery;
} SnRelayRow;

extern bool sn_relay_row_get(int sub_id, SnRelayRow *row);
extern void sn_relay_row_put(const SnRelayRow *row);
extern void sn_relay_row_remove(int sub_id);
extern List *sn_relay_rows(void);
extern void sn_relays_tell(void);

#endif							/* SN_RELAY_ROW_H */
