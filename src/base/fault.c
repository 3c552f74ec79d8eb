/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * fault.c
 *		Crashes on purpose; only in builds by `make FAULTS=1`.
 *
 * Whoever removes the file dies, so a request kills one process once, and not
 * again the server that recovers from it.
 */
#include <signal.h>
#include <unistd.h>

#include "base/fault.h"

#ifdef SN_FAULTS

/* sn_fault: die here if that was asked for; the data directory is our own */
void
sn_fault(const char *file)
{
	if (unlink(file) == 0)
	{
		(void) kill(getpid(), SIGKILL);
		for (;;)
			(void) pause();
	}
}

#endif
