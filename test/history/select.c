/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * select.c
 *	  A select() in front of libfaketime's, so that its clock reaches every
 *	  process of the server.
 *
 * While libfaketime's select() waits, the thread is marked as not to be
 * deceived.  The postmaster of PostgreSQL 15 starts background workers in
 * a signal handler, which interrupts just that wait: they would inherit the mark
 * and see the true time for ever.  This one asks the kernel and marks nothing.
 */
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
