/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * cron.c
 *		enable_cron(), disable_cron() and cron_status(): pg_cron calls sla_scan().
 *
 * pg_cron is in one database of a server.  What is done there is done with the
 * caller's rights: whose job it is, and who may have one, is pg_cron's to say.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/args.h"
#include "base/result_row.h"
#include "tenancy/action.h"
#include "tenancy/gate.h"
#include "tenancy/right.h"

PG_FUNCTION_INFO_V1(sentinai_enable_cron);
PG_FUNCTION_INFO_V1(sentinai_disable_cron);
PG_FUNCTION_INFO_V1(sentinai_cron_status);

#define JOB "sentinai sla_scan"
#define COMMAND "select sentinai.sla_scan(100000)"

/* The job, in the caller's memory; id 0: there is none */
typedef struct Job
{
	int64		id;
	char	   *schedule;
	bool		active;
} Job;

/* home: the database that pg_cron is in; NULL: the server has not loaded it */
static const char *
home(void)
{
	return GetConfigOption("cron.database_name", true, false);
}

/*
 * is_created: whether pg_cron is in this database.  A schema of that name that
 * is not the extension's own is somebody else's, and nothing in it is called.
 */
static bool
is_created(void)
{
	Oid			extension = get_extension_oid("pg_cron", true);
	Oid			schema = get_namespace_oid("cron", true);

	return OidIsValid(extension) && OidIsValid(schema) &&
		getExtensionOfObject(NamespaceRelationId, schema) == extension;
}

/* state: what can be said without a look at the jobs; NULL: there may be one */
static const char *
state(void)
{
	if (home() == NULL)
		return "missing";
	if (strcmp(home(), get_database_name(MyDatabaseId)) != 0)
		return "elsewhere";
	return is_created() ? NULL : "not created";
}

/* query: a statement with the caller's rights that returns one row, or none */
static bool
query(const char *sql)
{
	if (SPI_execute(sql, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\"", sql);
	return SPI_processed > 0;
}

/* find_job: ours of this database */
static void
find_job(Job *job)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		isnull;

	memset(job, 0, sizeof(*job));
	SPI_connect();
	if (query("select j.jobid, j.schedule::pg_catalog.text, j.active from cron.job j"
			  " where j.jobname::pg_catalog.text operator(pg_catalog.=) '" JOB "'"
			  " and j.database::pg_catalog.text operator(pg_catalog.=) pg_catalog.current_database()::pg_catalog.text"
			  " order by j.jobid limit 1"))
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		job->id = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
		job->schedule = MemoryContextStrdup(caller, SPI_getvalue(row, desc, 2));
		job->active = DatumGetBool(SPI_getbinval(row, desc, 3, &isnull));
	}
	SPI_finish();
}

/* refuse_job: why there can be no job, and what to do about it */
static void
refuse_job(const char *why, const char *schedule)
{
	const char *here = get_database_name(MyDatabaseId);

	if (strcmp(why, "missing") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron is not loaded"),
				 errhint("Install it, add \"pg_cron\" to shared_preload_libraries, set cron.database_name to \"%s\", and restart the server. The sequencer does without: see sentinai.sla_interval.",
						 here)));
	if (strcmp(why, "elsewhere") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron is in another database"),
				 errdetail("It is in database \"%s\".", home()),
				 errhint("Run there: SELECT cron.schedule_in_database(%s, %s, %s, %s).",
						 quote_literal_cstr(psprintf(JOB " %s", here)),
						 quote_literal_cstr(schedule),
						 quote_literal_cstr(COMMAND), quote_literal_cstr(here))));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"pg_cron\" is not in this database"),
			 errhint("CREATE EXTENSION pg_cron.")));
}

/* job_json: for the action log; NULL: there is none */
static Jsonb *
job_json(const Job *job)
{
	if (job->id == 0)
		return NULL;
	return sn_action_json("schedule", job->schedule, "active",
						  job->active ? "true" : "false", NULL);
}

/* record_job: who has made or removed the job, if that changed anything */
static void
record_job(const char *function, const Job *before, const Job *after)
{
	SnAction	action = {
		.action = function,
		.tenant_id = cstring_to_text(SN_EVERY),
		.object = JOB,
		.before = job_json(before),
		.after = job_json(after),
	};

	if (before->id != after->id || before->active != after->active ||
		(before->id != 0 && strcmp(before->schedule, after->schedule) != 0))
		sn_action_record(&action);
}

/* enable_cron(schedule text) returns bigint */
Datum
sentinai_enable_cron(PG_FUNCTION_ARGS)
{
	const char *schedule;
	const char *why;
	Job			before;
	Job			after;

	SN_REQUIRE_ARG(0, "schedule");
	PreventCommandIfReadOnly("enable_cron()");
	sn_require_every("schedule scans");
	schedule = text_to_cstring(PG_GETARG_TEXT_PP(0));
	why = state();
	if (why != NULL)
		refuse_job(why, schedule);
	find_job(&before);
	SPI_connect();
	/* a job of that name and of the caller's is changed */
	(void) query(psprintf("select cron.schedule('" JOB "', %s, '" COMMAND "')",
						  quote_literal_cstr(schedule)));
	SPI_finish();
	find_job(&after);
	record_job("enable_cron", &before, &after);
	PG_RETURN_INT64(after.id);
}

/* disable_cron() returns boolean */
Datum
sentinai_disable_cron(PG_FUNCTION_ARGS)
{
	Job			before;
	Job			none = {0};

	PreventCommandIfReadOnly("disable_cron()");
	sn_require_every("schedule scans");
	if (state() != NULL)
		PG_RETURN_BOOL(false);
	find_job(&before);
	if (before.id == 0)
		PG_RETURN_BOOL(false);
	SPI_connect();
	(void) query(psprintf("select cron.unschedule('" INT64_FORMAT "'::pg_catalog.int8)",
						  before.id));
	SPI_finish();
	record_job("disable_cron", &before, &none);
	PG_RETURN_BOOL(true);
}

/* cron_status() returns (state, database_name, job_id, schedule) */
Datum
sentinai_cron_status(PG_FUNCTION_ARGS)
{
	const char *what = state();
	Job			job = {0};
	Datum		values[4] = {0};
	bool		nulls[4] = {false, true, true, true};

	sn_require_every("look at scheduled scans");
	if (what == NULL)
		find_job(&job);
	if (what == NULL)
		what = job.id == 0 ? "off" : job.active ? "on" : "paused";
	values[0] = CStringGetTextDatum(what);
	if (home() != NULL)
	{
		values[1] = CStringGetTextDatum(home());
		nulls[1] = false;
	}
	if (job.id != 0)
	{
		values[2] = Int64GetDatum(job.id);
		values[3] = CStringGetTextDatum(job.schedule);
		nulls[2] = nulls[3] = false;
	}
	PG_RETURN_DATUM(sn_row_datum(fcinfo, values, nulls));
}
