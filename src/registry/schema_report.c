/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_report.c
 *		What a value breaks, for people and for programs.
 *
 * A message has nothing of the value in it.  A pointer has names of the
 * value's members, so a report goes to the client and into no log.
 */
#include "postgres.h"

#include "utils/json.h"

#include "registry/schema_check.h"

#define POINTER_MAX 1024		/* bytes */

/* sn_schema_pointer: a JSON Pointer (RFC 6901) one step further */
char *
sn_schema_pointer(const char *parent, const char *name, int len)
{
	StringInfoData out;
	int			i;

	initStringInfo(&out);
	appendStringInfoString(&out, parent);
	appendStringInfoChar(&out, '/');
	for (i = 0; i < len; i++)
	{
		if (name[i] == '~')
			appendStringInfoString(&out, "~0");
		else if (name[i] == '/')
			appendStringInfoString(&out, "~1");
		else
			appendStringInfoChar(&out, name[i]);
	}
	return out.data;
}

/*
 * append_step: one place, after those that it is in.  False: the pointer ends
 * before it, as it would be too long.
 */
static bool
append_step(StringInfo out, const SnCheckStep *step)
{
	int			before;

	if (step->parent != NULL && !append_step(out, step->parent))
		return false;
	before = out->len;
	if (step->name == NULL && step->index < 0)
		return true;			/* the value as a whole */
	if (step->len > POINTER_MAX)
		return false;
	if (step->name == NULL)
		appendStringInfo(out, "/%d", step->index);
	else
	{
		char	   *one = sn_schema_pointer("", step->name, step->len);

		appendStringInfoString(out, one);
		pfree(one);
	}
	if (out->len <= POINTER_MAX)
		return true;
	out->len = before;
	out->data[before] = '\0';
	return false;
}

/*
 * sn_schema_broken: the value at this place breaks a keyword.  Returns false,
 * for the caller to return.
 */
bool
sn_schema_broken(SnCheck *check, const SnCheckStep *step, const char *keyword,
				 const char *format,...)
{
	StringInfoData pointer;
	StringInfoData message;
	SnSchemaError *error;
	int			needed;

	if (check->errors == NULL || check->errors->count++ >= SN_SCHEMA_ERRORS_MAX)
		return false;
	initStringInfo(&pointer);
	(void) append_step(&pointer, step);
	initStringInfo(&message);
	do
	{
		va_list		args;

		va_start(args, format);
		needed = appendStringInfoVA(&message, format, args);
		va_end(args);
		if (needed > 0)
			enlargeStringInfo(&message, needed);
	} while (needed > 0);
	error = &check->errors->first[check->errors->count - 1];
	error->pointer = pointer.data;
	error->keyword = keyword;
	error->message = message.data;
	return false;
}

/*
 * sn_schema_errors_json: an array of objects with pointer, keyword and message;
 * when there are more than are described, the last has "more", their number.
 */
void
sn_schema_errors_json(const SnSchemaErrors *errors, StringInfo out)
{
	int			n = Min(errors->count, SN_SCHEMA_ERRORS_MAX);
	int			i;

	appendStringInfoChar(out, '[');
	for (i = 0; i < n; i++)
	{
		appendStringInfoString(out, i == 0 ? "{\"pointer\": " : ", {\"pointer\": ");
		escape_json(out, errors->first[i].pointer);
		appendStringInfoString(out, ", \"keyword\": ");
		escape_json(out, errors->first[i].keyword);
		appendStringInfoString(out, ", \"message\": ");
		escape_json(out, errors->first[i].message);
		appendStringInfoChar(out, '}');
	}
	if (errors->count > n)
		appendStringInfo(out, ", {\"more\": %d}", errors->count - n);
	appendStringInfoChar(out, ']');
}
