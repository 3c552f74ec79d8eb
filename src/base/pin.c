/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pin.c
 *		The settings of the workers: the server's, and some that are ours.
 *
 * A worker runs as the bootstrap superuser.  What ALTER DATABASE and ALTER
 * ROLE have set for sessions would hold for it, too: a role that may do
 * nothing here, a limit that no round keeps.  So none of it is applied.  While
 * the process connects, every setting that such a command can name counts as
 * set by somebody who goes before databases and roles; afterwards it counts as
 * what it was, so that a reload of the configuration file still changes it.
 *
 * What the configuration file may say for sessions and would stop or change a
 * worker is pinned, for all workers here and for one of them in its file.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "base/compat.h"
#include "base/pin.h"

/* What a setting counted as before it was shielded */
typedef struct Sources
{
	GucSource	source;
	GucSource	reset_source;
} Sources;

static const char *const pinned[][2] = {
	{"search_path", "pg_catalog, pg_temp"},
	{"client_min_messages", "error"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"default_table_access_method", "heap"},
	{"default_tablespace", ""},
	{"session_replication_role", "origin"},
	{"row_security", "on"},		/* off is an error for an owner */
	{"deadlock_timeout", "50ms"},	/* it is a worker that gives way */
	{"lock_timeout", "0"},
	{"statement_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"transaction_timeout", "0"},	/* since 17 */
	{"temp_file_limit", "-1"},	/* a large round sorts on disk */
	{"exit_on_error", "off"},
	{"transform_null_equals", "off"},
	{"standard_conforming_strings", "on"},
	{"jit", "off"}
};

/* is_shielded: whether a command may set it for a database or a role */
static bool
is_shielded(const struct config_generic *setting)
{
	/* this one is set as the process connects, and pinned afterwards */
	if (strcmp(setting->name, "client_encoding") == 0)
		return false;
	return setting->context == PGC_SUSET || setting->context == PGC_USERSET;
}

/* shield: have database and role come too late; returns what was before */
static Sources *
shield(struct config_generic **settings, int n)
{
	Sources    *before = palloc0(sizeof(Sources) * n);
	int			i;

	for (i = 0; i < n; i++)
	{
		before[i].source = settings[i]->source;
		before[i].reset_source = settings[i]->reset_source;
		if (!is_shielded(settings[i]))
			continue;
		settings[i]->source = PGC_S_OVERRIDE;
		settings[i]->reset_source = PGC_S_OVERRIDE;
	}
	return before;
}

/* unshield: the settings count as what they were */
static void
unshield(struct config_generic **settings, int n, const Sources *before)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if (!is_shielded(settings[i]))
			continue;
		settings[i]->source = before[i].source;
		settings[i]->reset_source = before[i].reset_source;
	}
}

/* sn_pin: a setting that holds until the process ends, if the server has it */
void
sn_pin(const char *name, const char *value)
{
	if (GetConfigOption(name, true, false) != NULL)
		SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * sn_connect_worker: connect to a database, or to none (InvalidOid), with the
 * settings of a worker.  The name is for pg_stat_activity.
 */
void
sn_connect_worker(Oid dboid, const char *name)
{
	int			n;
	struct config_generic **all = sn_guc_variables(&n);
	struct config_generic **settings = palloc(sizeof(*settings) * n);
	Sources    *before;
	int			i;

	/* the server's own array moves when a name comes that it does not know */
	memcpy(settings, all, sizeof(*settings) * n);
	before = shield(settings, n);
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	unshield(settings, n, before);
	pfree(before);
	pfree(settings);
	sn_pin("application_name", name);
	if (OidIsValid(dboid))
		sn_pin("client_encoding", GetDatabaseEncodingName());
	for (i = 0; i < lengthof(pinned); i++)
		sn_pin(pinned[i][0], pinned[i][1]);
}
