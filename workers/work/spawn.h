/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * spawn.h
 *	  Runs a program with a text on its standard input.
 */
#ifndef SENTINAI_SPAWN_H
#define SENTINAI_SPAWN_H

#include <stdbool.h>
#include <stddef.h>

#define SPAWN_TAIL_SIZE 2048

typedef struct SpawnRequest
{
	const char *command;		/* for /bin/sh -c */
	char	   *const *environment;
	const char *input;
	size_t		input_length;
	int			timeout;		/* milliseconds */
	int			kill_after;		/* from SIGTERM to SIGKILL */
	bool		show_stderr;	/* pass standard error on as well */
	bool		(*is_cancelled) (void *arg);
	void	   *arg;
} SpawnRequest;

typedef enum SpawnEnd
{
	SPAWN_EXITED,				/* status is the exit status */
	SPAWN_SIGNALED,				/* status is the signal */
	SPAWN_TIMED_OUT,
	SPAWN_CANCELLED,
	SPAWN_NOT_STARTED			/* status is an errno */
} SpawnEnd;

typedef struct SpawnResult
{
	SpawnEnd	end;
	int			status;
	char		tail[SPAWN_TAIL_SIZE];	/* last bytes of standard error */
	size_t		tail_length;
} SpawnResult;

extern void spawn_run(const SpawnRequest *request, SpawnResult *result);

#endif							/* SENTINAI_SPAWN_H */
