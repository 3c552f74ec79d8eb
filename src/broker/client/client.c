/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * client.c
 *		What providers share: threads beside the host's, and how they wake it.
 */
#include "broker/client/client.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

/* A pipe whose ends never block and do not outlive an exec. */
bool
sn_client_pipe(int fds[2])
{
	int			i;

	if (pipe(fds) != 0)
	{
		fds[0] = fds[1] = -1;
		return false;
	}
	for (i = 0; i < 2; i++)
	{
		if (fcntl(fds[i], F_SETFL, O_NONBLOCK) != 0 ||
			fcntl(fds[i], F_SETFD, FD_CLOEXEC) != 0)
			return false;
	}
	return true;
}

/* Reads away what woke the reader of a pipe. */
void
sn_client_pipe_empty(int fd)
{
	char		buf[64];

	while (read(fd, buf, sizeof(buf)) > 0)
		continue;
}

/* The time in so many milliseconds, by the same clock. */
void
sn_client_deadline(struct timespec *until, int timeout_ms)
{
	clock_gettime(CLOCK_MONOTONIC, until);
	until->tv_sec += timeout_ms / 1000;
	until->tv_nsec += (timeout_ms % 1000) * 1000000L;
	if (until->tv_nsec >= 1000000000L)
	{
		until->tv_sec++;
		until->tv_nsec -= 1000000000L;
	}
}

/* Blocks all signals, for the threads that are about to start. */
void
sn_client_block_signals(sigset_t *before)
{
	sigset_t	all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}
