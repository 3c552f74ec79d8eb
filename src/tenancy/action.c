/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * action.c
 *		What people changed: rows of action_log.
 *
 * Whoever changes a grant, a limit, a rule or a dead letter calls
 * sn_action_record() in the same transaction.  So the row is there if and only
 * if the change is.
 *
 * The clock of events says when.  So a row has its place among the events, before
 * those that are published after it and behind those before it, in its own
 * transaction, too; and no two have the same.
 */
#include "postgres.h"

#include <stdarg.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "base/set_here.h"
#include "shared/clock.h"
#include "store/store.h"
#include "tenancy/action.h"

void		(*sn_action_clock_ready) (void) = NULL;

const char *const sn_action_kinds[] = {"configuration", "action"};

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *string)
{
	JsonbValue	value = {.type = jbvString};

	if (string == NULL)
		value.type = jbvNull;
	else
	{
		value.val.string.val = unconstify(char *, string);
		value.val.string.len = strlen(string);
	}
	(void) pushJsonbValue(state, token, &value);
}

/*
 * sn_action_json: an object of strings, from names and values in turn; a value
 * may be NULL, and the first name that is ends them
 */
Jsonb *
sn_action_json(const char *name,...)
{
	JsonbParseState *state = NULL;
	va_list		rest;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	va_start(rest, name);
	for (; name != NULL; name = va_arg(rest, const char *))
	{
		push_string(&state, WJB_KEY, name);
		push_string(&state, WJB_VALUE, va_arg(rest, const char *));
	}
	va_end(rest);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * sn_action_value: what an output function makes of a value.  What is written
 * down does not depend on how the session wants intervals and fractions shown.
 */
char *
sn_action_value(Oid output, Datum value)
{
	int			level = NewGUCNestLevel();
	char	   *shown;

	sn_set_here("IntervalStyle", "postgres");
	sn_set_here("extra_float_digits", "1");
	shown = OidOutputFunctionCall(output, value);
	AtEOXact_GUC(false, level);
	return shown;
}

/* set_column: a column that may be null */
static void
set_column(Datum *values, bool *nulls, AttrNumber column, const void *value)
{
	values[column - 1] = PointerGetDatum(value);
	nulls[column - 1] = value == NULL;
}

static text *
role_name(Oid role)
{
	return cstring_to_text(GetUserNameFromId(role, false));
}

/*
 * sn_session_role: who does it, for columns such as changed_by: the role that has
 * logged in.  The current one is nobody in particular in a SECURITY DEFINER
 * function.
 */
text *
sn_session_role(void)
{
	return role_name(GetSessionUserId());
}

/*
 * sn_action_record: note what the caller has changed.  An update of the
 * extension may still have to make the table.
 */
void
sn_action_record(const SnAction *action)
{
	Datum		values[Natts_action];
	bool		nulls[Natts_action] = {false};
	pg_uuid_t	clock_id;
	SnTick		tick;

	if (!sn_present(SN_ACTION_LOG))
		return;
	values[Anum_action_id - 1] =
		Int64GetDatum(sn_sequence_next("action_log_action_id_seq"));
	sn_action_clock_ready();
	tick = sn_clock_take(1);
	sn_uuid_make(tick, &clock_id);
	values[Anum_action_clock_id - 1] = UUIDPGetDatum(&clock_id);
	values[Anum_action_acted_at - 1] =
		TimestampTzGetDatum(sn_tick_timestamp(tick));
	set_column(values, nulls, Anum_action_kind,
			   cstring_to_text(sn_action_kinds[action->kind]));
	set_column(values, nulls, Anum_action_worker_type, action->worker_type);
	set_column(values, nulls, Anum_action_aggregate_id, action->aggregate_id);
	set_column(values, nulls, Anum_action_actor,
			   action->actor != NULL ? action->actor : sn_session_role());
	set_column(values, nulls, Anum_action_session_role, sn_session_role());
	set_column(values, nulls, Anum_action_acting_role, role_name(GetUserId()));
	set_column(values, nulls, Anum_action_action,
			   cstring_to_text(action->action));
	set_column(values, nulls, Anum_action_tenant_id, action->tenant_id);
	set_column(values, nulls, Anum_action_object,
			   action->object == NULL ? NULL : cstring_to_text(action->object));
	set_column(values, nulls, Anum_action_before, action->before);
	set_column(values, nulls, Anum_action_after, action->after);
	set_column(values, nulls, Anum_action_reason, action->reason);
	sn_insert_one(SN_ACTION_LOG, values, nulls);
}
