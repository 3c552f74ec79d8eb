/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_transform.c
 *		A function in SQL that says what is sent of an event.
 *
 * It runs in the relay's process, in the transaction that reads, and so it may do
 * no more than look: each call is a subtransaction that is read-only, with the
 * rights of the function's owner in a security-restricted operation, as an index's
 * function has them during maintenance.  What it sets is set back.  It has so long
 * as transform.timeout.ms says, and when all of a turn took longer than TURN_MS
 * the turn ends, so that no snapshot is held for long.
 *
 * An error is that event's dead letter.  Its text may have the payload in it, and
 * the relay's errors are for the log and for views that monitors read: so only
 * the SQLSTATE is told.  What is nobody's fault (a cancel, I/O, a deadlock) ends the
 * process as ever, and so does a function that is not there, or is not the one
 * that was named: then events wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/set_here.h"
#include "base/sqlstate.h"
#include "log/log_read.h"
#include "relay/relay_process.h"
#include "relay/relay_transform.h"
#include "store/guarded.h"

#define TURN_MS		1000		/* of a turn that may go to transforms */
#define NARGS		11

/* The function, as it was prepared */
typedef struct Transform
{
	char	   *name;			/* as in record_options; NULL: none yet */
	Oid			function;
	Oid			owner;
	SPIPlanPtr	plan;
	TimestampTz until;			/* the call has to be over */
	TimestampTz late_at;		/* the turn has to be over */
} Transform;

/* A call */
typedef struct Call
{
	Datum		args[NARGS];
	char		nulls[NARGS];
	MemoryContext context;		/* of the result */
	SnTransformed *result;
} Call;

static Transform transform;

/* refuse_transform: an error that says what is wrong with a function */
static void
refuse_transform(const char *name, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_INVALID),
			 errmsg("transform \"%s\" cannot be used: %s", name, why),
			 errhint("It is the name of a function with its schema, that takes a jsonb and returns one.")));
}

/*
 * find_function: the function that a name means, and its owner; no right is asked
 * for.  An error when it is none that can be used.
 */
static Oid
find_function(const char *name, Oid *owner)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(name));
	Oid			jsonb = JSONBOID;
	Oid			result;
	Oid			schema;
	HeapTuple	tuple;
	Form_pg_proc proc;

	if (list_length(names) != 2)
		refuse_transform(name, "its schema is not named");
	schema = get_namespace_oid(strVal(linitial(names)), true);
	tuple = !OidIsValid(schema) ? NULL :
		SearchSysCache3(PROCNAMEARGSNSP,
						CStringGetDatum(strVal(lsecond(names))),
						PointerGetDatum(buildoidvector(&jsonb, 1)),
						ObjectIdGetDatum(schema));
	if (!HeapTupleIsValid(tuple))
	{
		refuse_transform(name, "it does not exist");
		return InvalidOid;		/* not reached */
	}
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->prorettype != JSONBOID || proc->proretset ||
		proc->prokind != PROKIND_FUNCTION)
		refuse_transform(name, "it does not return one jsonb");
	result = proc->oid;
	*owner = proc->proowner;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * sn_transform_owner: the role whose rights a function would have; an error
 * unless it is the caller's own, or of a role that the caller is a member of
 */
char *
sn_transform_owner(const char *name)
{
	Oid			owner;

	(void) find_function(name, &owner);
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of function %s", name),
				 errdetail("A transform runs with the rights of its owner.")));
	return GetUserNameFromId(owner, false);
}

/* prepare_transform: a plan that calls the function */
static void
prepare_transform(const char *name)
{
	Oid			types[NARGS] = {
		UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID,
		TEXTOID, UUIDOID, JSONBOID, JSONBOID
	};
	char	   *sql = psprintf("select %s(pg_catalog.jsonb_build_object('event_id', $1,"
							   " 'event_type', $2, 'tenant_id', $3, 'aggregate_type', $4, 'aggregate_id', $5,"
							   " 'schema_version', $6, 'occurred_at', $7, 'correlation_id', $8,"
							   " 'causation_id', $9, 'payload', $10, 'metadata', $11))",
							   quote_qualified_identifier(get_namespace_name(get_func_namespace(transform.function)),
														  get_func_name(transform.function)));
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(transform.owner,
						   context | SECURITY_RESTRICTED_OPERATION);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	transform.plan = SPI_prepare(sql, NARGS, types);
	if (transform.plan == NULL || SPI_keepplan(transform.plan) != 0)
		elog(ERROR, "could not prepare the transform: %s",
			 SPI_result_code_string(SPI_result));
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	transform.name = MemoryContextStrdup(TopMemoryContext, name);
}

/* forget_transform: another is to be used, or the same made anew */
static void
forget_transform(void)
{
	if (transform.plan != NULL)
		(void) SPI_freeplan(transform.plan);
	if (transform.name != NULL)
		pfree(transform.name);
	memset(&transform, 0, sizeof(Transform));
}

/*
 * sn_transform_ready: before events are read: the function is there, and it is
 * that of the role who had it when it was named.  An error here is the relay's.
 */
void
sn_transform_ready(void)
{
	const SnRelaySettings *settings = &sn_relay.settings;
	const char *name = settings->rules == NULL ? NULL :
		settings->rules->transform;
	Oid			function;
	Oid			owner;

	if (name == NULL)
		return;
	function = find_function(name, &owner);
	if (strcmp(GetUserNameFromId(owner, false), settings->transform_owner) != 0)
		refuse_transform(name, "it is another role's by now");
	if (transform.name == NULL || strcmp(transform.name, name) != 0 ||
		transform.function != function || transform.owner != owner)
	{
		forget_transform();
		transform.function = function;
		transform.owner = owner;
		prepare_transform(name);
	}
	transform.late_at = GetCurrentTimestamp() + TURN_MS * INT64CONST(1000);
}

/* sn_transform_late: whether transforms took all the time that a turn may have */
bool
sn_transform_late(void)
{
	return sn_relay.settings.rules != NULL &&
		sn_relay.settings.rules->transform != NULL &&
		GetCurrentTimestamp() >= transform.late_at;
}

/* take_args: what the function is told of an event */
static void
take_args(Call *call, const Datum *values, const bool *nulls)
{
	AttrNumber	columns[NARGS] = {
		Anum_log_event_id, Anum_log_event_type, Anum_log_tenant_id,
		Anum_log_aggregate_type, Anum_log_aggregate_id,
		Anum_log_schema_version, Anum_log_occurred_at,
		sn_log_column(Anum_log_correlation_id, nulls), Anum_log_causation_id,
		Anum_log_payload, Anum_log_metadata
	};
	int			i;

	for (i = 0; i < NARGS; i++)
	{
		call->args[i] = values[columns[i] - 1];
		call->nulls[i] = nulls[columns[i] - 1] ? 'n' : ' ';
	}
}

/* take_result: what it has returned */
static void
take_result(Call *call)
{
	MemoryContext old;
	bool		isnull;
	Datum		value;
	Jsonb	   *payload;
	JsonbValue	scalar;

	if (SPI_processed != 1)
		elog(ERROR, "transform returned no row");
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						  &isnull);
	call->result->kind = SN_TRANSFORM_DROPS;
	if (isnull)
		return;
	old = MemoryContextSwitchTo(call->context);
	payload = (Jsonb *) PG_DETOAST_DATUM_COPY(value);
	MemoryContextSwitchTo(old);
	call->result->payload = JsonbPGetDatum(payload);
	call->result->kind =
		JsonbExtractScalar(&payload->root, &scalar) && scalar.type == jbvNull ?
		SN_TRANSFORM_TOMBSTONE : SN_TRANSFORM_SENDS;
}

/* stop_timer: the call is over; what fired at the last moment cancels nothing */
static void
stop_timer(void)
{
	disable_timeout(STATEMENT_TIMEOUT, false);
	if (get_timeout_indicator(STATEMENT_TIMEOUT, true))
		QueryCancelPending = false;
}

/* call_transform: the call, in a subtransaction, which gives rights and user back */
static void
call_transform(void *arg)
{
	Call	   *call = arg;
	int			ms = sn_relay.settings.rules->transform_timeout_ms;
	int			level = sn_name_safely();
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(transform.owner,
						   context | SECURITY_RESTRICTED_OPERATION);
	XactReadOnly = true;		/* until the subtransaction ends */
	transform.until = GetCurrentTimestamp() + ms * INT64CONST(1000);
	enable_timeout_after(STATEMENT_TIMEOUT, ms);
	PG_TRY();
	{
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		if (SPI_execute_plan(transform.plan, call->args, call->nulls, true,
							 1) != SPI_OK_SELECT)
			elog(ERROR, "transform could not be called");
		take_result(call);
		SPI_finish();
	}
	PG_FINALLY();
	{
		stop_timer();
	}
	PG_END_TRY();
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(user, context);
}

/* is_transforms_fault: whether an error is one of the function with this event */
static bool
is_transforms_fault(int sqlerrcode)
{
	if (sqlerrcode == ERRCODE_QUERY_CANCELED)
		return GetCurrentTimestamp() >= transform.until;
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_TRANSACTION_ROLLBACK:
			return false;
		case ERRCODE_INSUFFICIENT_RESOURCES:
			return sqlerrcode == ERRCODE_OUT_OF_MEMORY;
		default:
			return true;
	}
}

/* sn_transform: what is to be sent of an event, of which this is the row */
void
sn_transform(const Datum *values, const bool *nulls, SnTransformed *result)
{
	Call		call = {.context = CurrentMemoryContext, .result = result};
	ErrorData  *error;

	take_args(&call, values, nulls);
	error = sn_guarded(call_transform, &call, is_transforms_fault);
	if (error == NULL)
		return;
	result->kind = SN_TRANSFORM_FAILS;
	result->error = error->sqlerrcode == ERRCODE_QUERY_CANCELED ?
		psprintf("transform took longer than %d ms",
				 sn_relay.settings.rules->transform_timeout_ms) :
		psprintf("transform failed with SQLSTATE %s",
				 unpack_sql_state(error->sqlerrcode));
	FreeErrorData(error);
}
