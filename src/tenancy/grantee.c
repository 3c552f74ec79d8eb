/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * grantee.c
 *		The type grantee: a role by number, written by name as regrole is.
 *
 * A dump names roles that may not be where it is restored.  regrole refuses
 * such a name, and with it COPY loses all rows of a table of grants: a
 * subscription that was for some would be for everybody, and a role that needs
 * a proof would need none.  Here the name becomes a number that no role has.
 * Such a row gives nobody anything, and goes like one whose role was dropped.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/compat.h"

PG_FUNCTION_INFO_V1(sentinai_grantee_in);
PG_FUNCTION_INFO_V1(sentinai_grantee_out);
PG_FUNCTION_INFO_V1(sentinai_grantee_recv);
PG_FUNCTION_INFO_V1(sentinai_grantee_send);

#define NOBODY_FIRST 0x80000000 /* numbers of roles come from below */

/* number_of_nobody: one that no role has, the same each time for a name */
static Oid
number_of_nobody(const char *name)
{
	Oid			number = NOBODY_FIRST |
		hash_bytes((const unsigned char *) name, strlen(name));

	while (SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(number)))
		number = NOBODY_FIRST | (number + 1);
	return number;
}

/* missing_role: the name of a role that is not there; NULL for everything else */
static const char *
missing_role(const char *text)
{
	List	   *names = NIL;

	if (!SplitIdentifierString(pstrdup(text), '.', &names) ||
		list_length(names) != 1)
		return NULL;
	if (strspn(text, "0123456789") == strlen(text) || strcmp(text, "-") == 0 ||
		OidIsValid(get_role_oid(linitial(names), true)))
		return NULL;
	return linitial(names);
}

/*
 * grantee_in(cstring) returns grantee: as regrolein(), but for a name that no role
 * has, which is a WARNING
 */
Datum
sentinai_grantee_in(PG_FUNCTION_ARGS)
{
	const char *name = missing_role(PG_GETARG_CSTRING(0));

	if (name == NULL)
		return DirectFunctionCall1(regrolein, PG_GETARG_DATUM(0));
	ereport(WARNING,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("role \"%s\" does not exist", name),
			 errdetail("What it was granted is for nobody, and maintenance takes it."),
			 errhint("Grant it again when there is such a role.")));
	PG_RETURN_OID(number_of_nobody(name));
}

/* grantee_out(grantee) returns cstring: as regroleout() */
Datum
sentinai_grantee_out(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall1(regroleout, PG_GETARG_DATUM(0));
}

/* grantee_recv(internal) returns grantee: as regrolerecv(), a number */
Datum
sentinai_grantee_recv(PG_FUNCTION_ARGS)
{
	return regrolerecv(fcinfo);
}

/* grantee_send(grantee) returns bytea: as regrolesend(), a number */
Datum
sentinai_grantee_send(PG_FUNCTION_ARGS)
{
	return regrolesend(fcinfo);
}
