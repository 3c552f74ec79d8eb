/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * recovery.c
 *		Whether this cluster is a copy that came out of a backup.
 *
 * A cluster recovered from an archive has the system identifier of the one it
 * was copied from, which may well live on.  What tells is how the server is
 * started: with recovery.signal, or with the backup_label of a base backup and
 * no signal at all, it will go its own way; with standby.signal it follows
 * another, in whose place it comes when it is promoted.  The server removes
 * these files when recovery begins or ends, so the postmaster looks as it
 * loads this library, which is before that, and notes it in a file of its own:
 * a number that is new each time.  A crash at any point leaves the file.
 *
 * A database was last used after the recovery that its newest row of node
 * names; another number in the file means that it is a copy (node.c).
 *
 * Who begins a recovery and then makes a standby of it follows after all, so a
 * standby forgets a recovery that has not ended.  One that has ended stays: the
 * standby is one of the recovered cluster, or that cluster itself, as Patroni
 * starts it.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "shared/recovery.h"

#define NOTE "sentinai_recovery"	/* in the data directory: number, state */

PG_FUNCTION_INFO_V1(sentinai_recovery_id);

static int64 recovery_id = 0;	/* 0: not recovered from a backup */
static bool ended = true;
static bool looked = false;		/* these are known */

/* read_note: what the file says; there may be none */
static void
read_note(void)
{
	FILE	   *file = AllocateFile(NOTE, "r");
	char		state[16];
	long long	id;

	looked = true;
	if (file == NULL)
		return;
	if (fscanf(file, "%lld %15s", &id, state) == 2 && id > 0)
	{
		recovery_id = id;
		ended = strcmp(state, "ended") == 0;
	}
	FreeFile(file);
}

/* write_note: so that a crash leaves the old file or the new one */
static void
write_note(void)
{
	FILE	   *file = AllocateFile(NOTE ".new", "w");
	bool		written = false;

	if (file != NULL)
	{
		written = fprintf(file, "%lld %s\n", (long long) recovery_id,
						  ended ? "ended" : "begun") > 0 &&
			fflush(file) == 0 && pg_fsync(fileno(file)) == 0;
		written = FreeFile(file) == 0 && written;
	}
	if (!written || durable_rename(NOTE ".new", NOTE, LOG) != 0)
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", NOTE),
				 errdetail("After a crash sentinai will not know that this cluster was recovered from a backup."),
				 errhint("Call sentinai.pause_relay() in each database where the relay must not run.")));
}

static bool
exists(const char *file)
{
	return access(file, F_OK) == 0;
}

/* sn_recovery_init: look how the server is started; in the postmaster only */
void
sn_recovery_init(void)
{
	read_note();
	if (exists(STANDBY_SIGNAL_FILE))
	{
		if (!ended && durable_unlink(NOTE, LOG) == 0)
			recovery_id = 0;
	}
	else if (exists(RECOVERY_SIGNAL_FILE) || exists(BACKUP_LABEL_FILE))
	{
		do
		{
			if (!pg_strong_random(&recovery_id, sizeof(recovery_id)))
				ereport(FATAL,
						(errcode(ERRCODE_INTERNAL_ERROR),
						 errmsg("could not generate a random number")));
			recovery_id &= PG_INT64_MAX;
		} while (recovery_id == 0);
		ended = false;
		write_note();
	}
}

/*
 * sn_recovery_id: number of the recovery this cluster came out of, or is in; 0
 * if it came out of none
 */
int64
sn_recovery_id(void)
{
	if (!looked)				/* the library was not preloaded */
		read_note();
	return recovery_id;
}

/* sn_recovery_finished: the server takes writes, so recovery has ended */
void
sn_recovery_finished(void)
{
	if (ended)
		return;
	ended = true;
	write_note();
}

/* recovery_id() returns bigint */
Datum
sentinai_recovery_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(sn_recovery_id());
}
