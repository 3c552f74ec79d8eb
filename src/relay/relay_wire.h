/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_wire.h
 *		What sentinai-relay and the session that works for it say to each other:
 *		the arguments and the result of relay_call(), as bytes.
 *
 * A message is numbers of eight bytes, lowest first, and strings: their length
 * (-1: NULL), the bytes, and a NUL.  An event is one piece, as it is in memory
 * on either side, behind numbers of four bytes.
 *
 * Pure C, malloc only.
 */
#ifndef SN_RELAY_WIRE_H
#define SN_RELAY_WIRE_H

#include "relay/record.h"

/* Version of everything in this file; raised with every change to it. */
#define SN_RELAY_PROTOCOL	3

/*
 * What can be asked for.  Lanes are a bit set; positions are one number for
 * each lane of the database.
 */
typedef enum SnRelayCall
{
	SN_CALL_SETTINGS = 1,		/* -> what the core is opened with */
	SN_CALL_BEGIN,				/* look, figures, lanes to lock -> SnRelayState,
								 * paused, whether it looked, lanes waiting, lanes
								 * locked */
	SN_CALL_OWN,				/* lanes -> lanes, positions */
	SN_CALL_LOCK,				/* lanes -> lanes */
	SN_CALL_SETTLE,				/* n, n times news */
	SN_CALL_PARK,				/* n, n times held */
	SN_CALL_MARK,				/* lanes, positions */
	SN_CALL_READ,				/* lanes, room, positions -> positions, lanes
								 * waiting, n, n times event */
	SN_CALL_FETCH,				/* topic, lanes, max, bytes -> all, n, n times
								 * event */
	SN_CALL_LABEL,				/* topic before -> found, topic, error, has event,
								 * event */
	SN_CALL_UNLABEL,			/* topic, lanes */
	SN_CALL_EXPIRE				/* topic, lanes, max -> n */
} SnRelayCall;

/* How it stands with a relay */
typedef enum SnRelayState
{
	SN_RELAY_GOES,
	SN_RELAY_HELD_OFF,			/* the extension is being changed: try again */
	SN_RELAY_LEAVES				/* it is gone, or is not for this process */
} SnRelayState;

/* A message that is being written; zeroed is empty */
typedef struct SnWireOut
{
	char	   *data;
	size_t		len;
	size_t		room;
	bool		failed;			/* no memory */
} SnWireOut;

/* A message that is being read; strings are in it */
typedef struct SnWireIn
{
	const char *at;
	const char *end;
	bool		failed;			/* it is not what it should be */
} SnWireIn;

extern void sn_wire_begin(SnWireOut *out);
extern void sn_wire_put(SnWireOut *out, int64_t value);
extern void sn_wire_put_first(SnWireOut *out, int64_t value);
extern void sn_wire_put_string(SnWireOut *out, const char *string);
extern void sn_wire_put_event(SnWireOut *out, int lane, int64_t pos,
							  const SnRecordEvent *event, const char *error);

extern int64_t sn_wire_get(SnWireIn *in);
extern const char *sn_wire_get_string(SnWireIn *in);
extern void sn_wire_get_event(SnWireIn *in, int *lane, int64_t *pos,
							  SnRecordEvent *event, const char **error);

#endif							/* SN_RELAY_WIRE_H */
