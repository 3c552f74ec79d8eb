/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * client.h
 *		What providers share: threads beside the host's, and how they wake it.
 *
 * Plain C without a client library.
 */
#ifndef SN_BROKER_CLIENT_H
#define SN_BROKER_CLIENT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/monotonic.h"

extern bool sn_client_pipe(int fds[2]);
extern void sn_client_pipe_empty(int fd);
extern void sn_client_deadline(struct timespec *until, int timeout_ms);
extern void sn_client_block_signals(sigset_t *before);

#endif							/* SN_BROKER_CLIENT_H */
