/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * child.h
 *	  Runs a program with a text on its standard input.
 */
#ifndef SENTINAI_CHILD_H
#define SENTINAI_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#define CHILD_TAIL_SIZE 2048

typedef struct ChildRequest
{
	const char *command;		/* for /bin/sh -c */
	char	   *const *environment;
	const char *input;
	size_t		input_length;
	int			timeout;		/* milliseconds */
	int			kill_after;		/* from SIGTERM to SIGKILL; less if cancelled */
	bool		show_stderr;	/* pass standard error on as well */
	bool		(*is_cancelled) (void *arg);
	void	   *arg;
} ChildRequest;

typedef enum ChildEnd
{
	CHILD_EXITED,				/* status is the exit status */
	CHILD_SIGNALED,				/* status is the signal */
	CHILD_TIMED_OUT,
	CHILD_CANCELLED,
	CHILD_NOT_STARTED			/* status is an errno */
} ChildEnd;

typedef struct ChildResult
{
	ChildEnd	end;
	int			status;
	char		tail[CHILD_TAIL_SIZE];	/* last bytes of standard error */
	size_t		tail_length;
} ChildResult;

extern void child_run(const ChildRequest *request, ChildResult *result);

#endif							/* SENTINAI_CHILD_H */
