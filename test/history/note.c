/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * note.c
 *	  What sentinai-work runs for an event in the history checker's runs:
 *	  writes down that it began and that it ended.
 *
 * note FILE: two lines, each a single write.  One event in 16 asks to be
 * tried again after its first attempt.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/* Writes one line; false when that fails. */
static int
write_line(int fd, const char *phase, const char *outcome)
{
	char		line[1024];
	struct timespec now;
	int			length;

	clock_gettime(CLOCK_MONOTONIC, &now);
	length = snprintf(line, sizeof(line),
					  "{\"f\":\"handle\",\"ph\":\"%s\",\"p\":\"note-%ld\","
					  "\"w\":\"%s\",\"token\":\"\",\"id\":\"%s\",\"n\":%s,"
					  "\"outcome\":\"%s\",\"t\":%lld}\n", phase,
					  (long) getpid(), getenv("SENTINAI_WORKER_TYPE"),
					  getenv("SENTINAI_EVENT_ID"), getenv("SENTINAI_ATTEMPT"),
					  outcome, now.tv_sec * 1000000000LL + now.tv_nsec);
	return length < (int) sizeof(line) && write(fd, line, length) == length;
}

int
main(int argc, char **argv)
{
	const char *id = getenv("SENTINAI_EVENT_ID");
	const char *attempt = getenv("SENTINAI_ATTEMPT");
	int			fd;
	int			again;

	if (argc != 2 || id == NULL || attempt == NULL ||
		getenv("SENTINAI_WORKER_TYPE") == NULL)
		return EX_USAGE;
	fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || !write_line(fd, "invoke", "begun"))
		return EX_TEMPFAIL;
	again = strcmp(attempt, "1") == 0 && id[strlen(id) - 1] == '7';
	if (!write_line(fd, "ok", again ? "retry" : "complete"))
		return EX_TEMPFAIL;
	return again ? EX_TEMPFAIL : EX_OK;
}
