/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * session.h
 *	  The session in the server that works for a sentinai-relay.
 *
 * A failure ends the session and does not return: it jumps to where
 * session_failed says.
 */
#ifndef SENTINAI_SESSION_H
#define SENTINAI_SESSION_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "relay/relay_wire.h"
#include "tool.h"

extern jmp_buf session_failed;
extern volatile sig_atomic_t session_stop;	/* a signal asked for the end */

extern void session_connect(const Tool *tool);
extern bool session_open(const char *relay, const char **why_not);
extern void session_close(void);
extern void session_begin(void);
extern void session_tell(SnRelayCall call, const SnWireOut *request);
extern SnWireIn session_call(SnRelayCall call, const SnWireOut *request);
extern SnWireIn session_last_call(SnRelayCall call,
								  const SnWireOut *request);
extern void session_commit(bool durable);
extern uint64_t session_sleep(uint64_t lanes, int milliseconds, int broker_fd,
							  bool *by_server);
extern void session_rest(int milliseconds, int broker_fd);
extern void session_pause(int milliseconds);

#endif							/* SENTINAI_SESSION_H */
