/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_child.c
 *	  Running a program: input, exit, signals, timeout, its last words.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"

extern char **environ;

static bool
never(void *arg)
{
	(void) arg;
	return false;
}

static bool
always(void *arg)
{
	(void) arg;
	return true;
}

/* Has something been written to a file? */
static bool
when_written(void *arg)
{
	struct stat status;

	return stat(arg, &status) == 0 && status.st_size > 0;
}

/* A request with an input of `length` bytes. */
static ChildRequest
make_request(const char *command, const char *input, size_t length)
{
	ChildRequest request = {
		.command = command, .environment = environ, .input = input,
		.input_length = length, .timeout = 20000, .kill_after = 200,
		.is_cancelled = never
	};

	return request;
}

/* Runs a command without input. */
static ChildResult
run(const char *command)
{
	ChildRequest request = make_request(command, "", 0);
	ChildResult result;

	child_run(&request, &result);
	return result;
}

static void
test_exit(void **state)
{
	ChildResult result;

	(void) state;
	result = run("exit 0");
	assert_int_equal(result.end, CHILD_EXITED);
	assert_int_equal(result.status, 0);
	result = run("exit 75");
	assert_int_equal(result.status, 75);
	result = run("kill -9 $$");
	assert_int_equal(result.end, CHILD_SIGNALED);
	assert_int_equal(result.status, 9);
	result = run("/no/such/program 2>/dev/null");
	assert_int_equal(result.end, CHILD_EXITED);
	assert_int_equal(result.status, 127);
}

/* More input than a pipe holds arrives whole. */
static void
test_input(void **state)
{
	size_t		length = 3 * 1024 * 1024;
	char	   *input = malloc(length);
	ChildRequest request = make_request("wc -c >&2", input, length);
	ChildResult result;

	(void) state;
	assert_non_null(input);
	memset(input, 'x', length);
	child_run(&request, &result);
	assert_int_equal(result.status, 0);
	assert_int_equal(atol(result.tail), length);
	/* one that does not read it is not disturbed */
	request.command = "exec 0<&-; sleep 0.1; exit 3";
	child_run(&request, &result);
	assert_int_equal(result.end, CHILD_EXITED);
	assert_int_equal(result.status, 3);
	free(input);
}

static void
test_tail(void **state)
{
	ChildResult result;

	(void) state;
	result = run("seq 1 100000 >&2; printf 'the end' >&2; exit 1");
	assert_int_equal(result.tail_length, CHILD_TAIL_SIZE);
	assert_memory_equal(result.tail + CHILD_TAIL_SIZE - 14, "100000\nthe end",
						14);
	result = run("printf a >&2; sleep 0.05; printf b >&2");
	assert_int_equal(result.tail_length, 2);
	assert_memory_equal(result.tail, "ab", 2);
}

/* A timeout ends the whole group, also what ignores SIGTERM. */
static void
test_timeout(void **state)
{
	char		file[] = "/tmp/sentinai-child-XXXXXX";
	int			descriptor = mkstemp(file);
	char		command[200];
	char		pid[20] = "";
	ChildRequest request = make_request(command, "", 0);
	ChildResult result;
	int			tries = 0;

	(void) state;
	assert_true(descriptor >= 0);
	snprintf(command, sizeof(command),
			 "trap '' TERM; sleep 300 & echo $! >%s; wait; sleep 300", file);
	request.timeout = 300;
	child_run(&request, &result);
	assert_int_equal(result.end, CHILD_TIMED_OUT);
	assert_true(pread(descriptor, pid, sizeof(pid) - 1, 0) > 0);
	close(descriptor);
	unlink(file);
	pid[strcspn(pid, "\n")] = '\0';
	snprintf(command, sizeof(command),
			 "! grep -qs 'State:.[RSD]' /proc/%s/status", pid);
	while (run(command).status != 0)
	{
		struct timespec pause = {.tv_nsec = 10000000};

		assert_true(++tries < 500);
		nanosleep(&pause, NULL);
	}
}

/* Nor does something in the background keep us from seeing the end. */
static void
test_background(void **state)
{
	struct timespec start;
	struct timespec end;
	ChildResult result;

	(void) state;
	clock_gettime(CLOCK_MONOTONIC, &start);
	result = run("sleep 20 >/dev/null & exit 4");
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_int_equal(result.end, CHILD_EXITED);
	assert_int_equal(result.status, 4);
	assert_true(end.tv_sec - start.tv_sec < 10);
}

static void
test_cancel(void **state)
{
	ChildRequest request = make_request("sleep 300", "", 0);
	ChildResult result;

	(void) state;
	request.is_cancelled = always;
	child_run(&request, &result);
	assert_int_equal(result.end, CHILD_CANCELLED);
}

/*
 * Who has no use for the result any more gets it soon, whatever kill_after
 * is, and nothing of the group outlives the call.
 */
static void
test_cancel_stubborn(void **state)
{
	char		file[] = "/tmp/sentinai-child-XXXXXX";
	int			descriptor = mkstemp(file);
	char		command[200];
	char		pid[20] = "";
	ChildRequest request = make_request(command, "", 0);
	ChildResult result;
	struct timespec start;
	struct timespec end;

	(void) state;
	assert_true(descriptor >= 0);
	snprintf(command, sizeof(command),
			 "trap '' TERM; sleep 300 & echo $! >%s; sleep 300", file);
	request.is_cancelled = when_written;
	request.arg = file;
	request.kill_after = 3600000;
	clock_gettime(CLOCK_MONOTONIC, &start);
	child_run(&request, &result);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_int_equal(result.end, CHILD_CANCELLED);
	assert_true(end.tv_sec - start.tv_sec < 20);
	assert_true(pread(descriptor, pid, sizeof(pid) - 1, 0) > 0);
	close(descriptor);
	unlink(file);
	pid[strcspn(pid, "\n")] = '\0';
	snprintf(command, sizeof(command),
			 "! grep -qs 'State:.[RSD]' /proc/%s/status", pid);
	assert_int_equal(run(command).status, 0);
}

/* SIGPIPE (13) and SIGTERM (15) reach the program, unlike us. */
static void
test_signals(void **state)
{
	ChildResult result;

	(void) state;
	result = run("kill -13 $$; exit 0");
	assert_int_equal(result.end, CHILD_SIGNALED);
	assert_int_equal(result.status, 13);
	result = run("kill -15 $$; exit 0");
	assert_int_equal(result.end, CHILD_SIGNALED);
	assert_int_equal(result.status, 15);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit),
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_background),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cancel_stubborn),
		cmocka_unit_test(test_signals),
	};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t	blocked;

	sigaction(SIGPIPE, &ignore, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
