/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * select.c
 *	  The calls in which a server waits, in front of libfaketime's, so that its
 *	  clock reaches every process, and signal handlers.
 *
 * While one of libfaketime's waits, the thread is marked as not to be deceived.
 * A signal handler that interrupts it sees the true time.  The postmaster
 * of PostgreSQL 15 starts background workers in one: they would inherit the mark
 * and see the true time for ever.  In a backend it is the one of timeouts, which
 * would find that a lock's is not over while the clock is ahead.  These ask
 * the kernel and mark nothing.
 */
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* select: as the C library's */
int
select(int n, fd_set *restrict in, fd_set *restrict out,
	   fd_set *restrict except, struct timeval *restrict timeout)
{
	struct timespec left;
	int			result;

	if (timeout == NULL)
		return syscall(SYS_pselect6, n, in, out, except, NULL, NULL);
	left.tv_sec = timeout->tv_sec;
	left.tv_nsec = timeout->tv_usec * 1000;
	result = syscall(SYS_pselect6, n, in, out, except, &left, NULL);
	timeout->tv_sec = left.tv_sec;
	timeout->tv_usec = left.tv_nsec / 1000;
	return result;
}

/* epoll_wait: as the C library's */
int
epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
	return syscall(SYS_epoll_pwait, fd, events, n, timeout, NULL, (size_t) 8);
}

/* poll: as the C library's */
int
poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec left = {timeout / 1000, timeout % 1000 * 1000000L};

	return syscall(SYS_ppoll, fds, n, timeout < 0 ? NULL : &left, NULL,
				   (size_t) 8);
}
