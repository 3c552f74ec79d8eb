/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * child.c
 *	  Runs a program with a text on its standard input.
 *
 * posix_spawn() is safe in a process with threads.  The program leads a
 * process group of its own, so that a timeout ends what it has started too;
 * it gets default signal handling and an empty signal mask.  When the program
 * was ended by us, nothing of its group runs any more as child_run() returns:
 * its event may be somebody else's from then on.
 *
 * The end of the program is noticed at the end of its standard error, or by
 * looking from time to time when something else holds that open.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"

/* Longest time between two looks, in milliseconds. */
#define MAX_LOOK 50

/* From SIGTERM to SIGKILL when cancelled: others wait for the event. */
#define CANCEL_KILL_AFTER 1000

/* Longest wait for the rest of a killed group, in milliseconds. */
#define GROUP_TIMEOUT 1000

typedef struct Child
{
	const ChildRequest *request;
	ChildResult *result;
	pid_t		pid;
	int			input;			/* -1 once closed */
	int			errors;			/* -1 once closed */
	size_t		written;
	long long	deadline;		/* of the next step of ending it */
	int			signals_sent;	/* 0, then SIGTERM, then SIGKILL */
	bool		is_cancelled;
	int			look;			/* time to the next look */
} Child;

/* Milliseconds on a clock that only goes forward. */
static long long
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000L;
}

/* Closes a descriptor once. */
static void
close_once(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Starts /bin/sh with the ends of two pipes; returns an errno. */
static int
start_shell(Child *child, int input, int errors)
{
	char	   *argv[] = {"sh", "-c", (char *) child->request->command, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t	none;
	sigset_t	all;
	int			error;

	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0)
	{
		posix_spawn_file_actions_destroy(&actions);
		return ENOMEM;
	}
	error = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(&actions, errors,
												 STDERR_FILENO);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP |
							 POSIX_SPAWN_SETSIGMASK |
							 POSIX_SPAWN_SETSIGDEF);
	if (error == 0)
		error = posix_spawn(&child->pid, "/bin/sh", &actions, &attributes,
							argv, child->request->environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

/* Makes the pipes and starts the program; returns an errno. */
static int
start_child(Child *child)
{
	int			input[2];
	int			errors[2];
	int			error;

	if (pipe2(input, O_CLOEXEC) != 0)
		return errno;
	if (pipe2(errors, O_CLOEXEC) != 0)
	{
		error = errno;
		close(input[0]);
		close(input[1]);
		return error;
	}
	error = start_shell(child, input[0], errors[1]);
	close(input[0]);
	close(errors[1]);
	child->input = input[1];
	child->errors = errors[0];
	if (error != 0)
	{
		close_once(&child->input);
		close_once(&child->errors);
		return error;
	}
	fcntl(child->input, F_SETFL, O_NONBLOCK);
	fcntl(child->errors, F_SETFL, O_NONBLOCK);
	return 0;
}

/* Writes what the pipe takes; a program need not read its input. */
static void
write_input(Child *child)
{
	const ChildRequest *request = child->request;
	ssize_t		n = write(child->input, request->input + child->written,
						  request->input_length - child->written);

	if (n > 0)
		child->written += (size_t) n;
	else if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	else
		child->written = request->input_length;
	if (child->written >= request->input_length)
		close_once(&child->input);
}

/* Keeps the last bytes of standard error. */
static void
keep_tail(ChildResult *result, const char *bytes, size_t length)
{
	size_t		keep;

	if (length > CHILD_TAIL_SIZE)
	{
		bytes += length - CHILD_TAIL_SIZE;
		length = CHILD_TAIL_SIZE;
	}
	keep = CHILD_TAIL_SIZE - length;
	if (keep > result->tail_length)
		keep = result->tail_length;
	memmove(result->tail, result->tail + result->tail_length - keep, keep);
	memcpy(result->tail + keep, bytes, length);
	result->tail_length = keep + length;
}

/* Reads what there is of standard error; false when there is no more now. */
static bool
read_errors(Child *child)
{
	char		buffer[4096];
	ssize_t		n;

	if (child->errors < 0)
		return false;
	n = read(child->errors, buffer, sizeof(buffer));
	if (n > 0)
	{
		keep_tail(child->result, buffer, (size_t) n);
		if (child->request->show_stderr &&
			write(STDERR_FILENO, buffer, (size_t) n) < 0)
			return true;
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_once(&child->errors);
	return false;
}

/* Nobody wants the result any more, which leaves less time for the end. */
static void
notice_cancel(Child *child)
{
	const ChildRequest *request = child->request;
	long long	latest = now_ms() + CANCEL_KILL_AFTER;

	if (child->is_cancelled || !request->is_cancelled(request->arg))
		return;
	child->is_cancelled = true;
	if (child->signals_sent == 0)
	{
		child->result->end = CHILD_CANCELLED;
		child->deadline = now_ms();
	}
	else if (child->deadline > latest)
		child->deadline = latest;
}

/* Ends the program when it must: first politely, then for sure. */
static void
check_deadline(Child *child)
{
	int			kill_after = child->request->kill_after;

	notice_cancel(child);
	if (now_ms() < child->deadline)
		return;
	if (child->signals_sent == 0 && !child->is_cancelled)
		child->result->end = CHILD_TIMED_OUT;
	kill(-child->pid, child->signals_sent == 0 ? SIGTERM : SIGKILL);
	child->signals_sent++;
	if (child->is_cancelled && kill_after > CANCEL_KILL_AFTER)
		kill_after = CANCEL_KILL_AFTER;
	child->deadline = now_ms() + kill_after;
}

/* Has the program ended?  It is not reaped yet, so its group keeps its id. */
static bool
has_ended(const Child *child)
{
	siginfo_t	info = {.si_pid = 0};

	return waitid(P_PID, (id_t) child->pid, &info,
				  WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

/* Waits until what was killed with the program is gone, too. */
static void
await_group(pid_t group)
{
	long long	end = now_ms() + GROUP_TIMEOUT;
	struct timespec pause = {.tv_nsec = 1000000};

	while (kill(-group, 0) == 0 && now_ms() < end)
		nanosleep(&pause, NULL);
}

/* Waits for a pipe, or until it is time to look. */
static void
wait_for_pipes(Child *child)
{
	struct pollfd fds[2] = {
		{.fd = child->input, .events = POLLOUT},
		{.fd = child->errors, .events = POLLIN}
	};

	poll(fds, 2, child->look);
	if (fds[0].revents != 0)
		write_input(child);
	if (fds[1].revents != 0)
	{
		/* its end is likely to be the end of the program */
		child->look = 1;
		read_errors(child);
	}
	else if (child->look < MAX_LOOK)
		child->look *= 2;
}

/* Runs the program until its end. */
void
child_run(const ChildRequest *request, ChildResult *result)
{
	Child		child = {.request = request,.result = result,.look = 1};
	int			status;
	pid_t		ended;

	result->end = CHILD_EXITED;
	result->tail_length = 0;
	result->status = start_child(&child);
	if (result->status != 0)
	{
		result->end = CHILD_NOT_STARTED;
		return;
	}
	child.deadline = now_ms() + request->timeout;
	while (!has_ended(&child))
	{
		check_deadline(&child);
		wait_for_pipes(&child);
	}
	if (child.signals_sent > 0)
		kill(-child.pid, SIGKILL);
	ended = waitpid(child.pid, &status, 0);
	while (read_errors(&child))
		;
	close_once(&child.input);
	close_once(&child.errors);
	if (child.signals_sent > 0)
	{
		await_group(child.pid);
		return;
	}
	if (ended < 0)
	{
		result->end = CHILD_NOT_STARTED;
		result->status = errno;
	}
	else if (WIFSIGNALED(status))
	{
		result->end = CHILD_SIGNALED;
		result->status = WTERMSIG(status);
	}
	else
		result->status = WEXITSTATUS(status);
}
