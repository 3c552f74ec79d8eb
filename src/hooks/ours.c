/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * ours.c
 *		Which objects of a command are the extension's, and how a command on
 *		them is refused.
 *
 * No lock is taken to find out, and what the user may not look up is left to
 * the command to refuse.  Whoever does not own a thing learns only that.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/sentinai.h"
#include "hooks/ours.h"

/* sn_is_member: whether the extension has an object, and is there at all */
bool
sn_is_member(Oid class, Oid object)
{
	Oid			extension;

	if (!OidIsValid(object))
		return false;
	extension = getExtensionOfObject(class, object);
	return OidIsValid(extension) &&
		extension == get_extension_oid("sentinai", true);
}

/* sn_is_our_relation: whether a relation is one of ours: partitions are no members */
bool
sn_is_our_relation(Oid relid)
{
	Oid			schema;

	if (!OidIsValid(relid))
		return false;
	schema = get_rel_namespace(relid);
	if (schema == get_namespace_oid(SN_INTERNAL, true))
		return sn_is_member(NamespaceRelationId, schema);
	return schema == get_namespace_oid(SN_SCHEMA, true) &&
		(sn_is_member(RelationRelationId, relid) ||
		 sn_is_member(TypeRelationId, get_rel_type_id(relid)));
}

/* sn_our_relation: a relation of ours that a command names, or InvalidOid */
Oid
sn_our_relation(const RangeVar *name)
{
	Oid			schema;
	Oid			relid;

	if (name == NULL)
		return InvalidOid;
	if (name->schemaname == NULL)
		relid = RelnameGetRelid(name->relname);
	else
	{
		schema = get_namespace_oid(name->schemaname, true);
		relid = OidIsValid(schema) ?
			get_relname_relid(name->relname, schema) : InvalidOid;
	}
	return sn_is_our_relation(relid) ? relid : InvalidOid;
}

/* is_our_schema: the one of the tables is a member, the extension is in the other */
static bool
is_our_schema(const char *name)
{
	if (strcmp(name, SN_INTERNAL) == 0)
		return sn_is_member(NamespaceRelationId,
							get_namespace_oid(name, true));
	return strcmp(name, SN_SCHEMA) == 0 &&
		OidIsValid(get_extension_oid("sentinai", true));
}

/* sn_is_our_object: whether a command names an object of ours, no relation */
bool
sn_is_our_object(ObjectType type, Node *name)
{
	switch (type)
	{
		case OBJECT_AGGREGATE:
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
			return sn_is_member(ProcedureRelationId,
								LookupFuncWithArgs(type,
												   castNode(ObjectWithArgs, name),
												   true));
		case OBJECT_TYPE:
			return sn_is_member(TypeRelationId,
								LookupTypeNameOid(NULL,
												  makeTypeNameFromNameList(castNode(List, name)),
												  true));
		case OBJECT_SCHEMA:
			return is_our_schema(strVal(name));
		case OBJECT_FOREIGN_SERVER:
			return sn_is_member(ForeignServerRelationId,
								get_foreign_server_oid(strVal(name), true));
		case OBJECT_FDW:
			return sn_is_member(ForeignDataWrapperRelationId,
								get_foreign_data_wrapper_oid(strVal(name), true));
		default:
			return false;
	}
}

/* require_owner: who does not own the relation learns only that */
static void
require_owner(Oid relid)
{
	if (!sn_owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER,
					   get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
}

/* sn_refuse: what somebody would add to a relation of ours */
void
sn_refuse(const char *what, Oid relid)
{
	require_owner(relid);
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s cannot be added to or changed on \"%s.%s\"", what,
					get_namespace_name(get_rel_namespace(relid)),
					get_rel_name(relid)),
			 errdetail("The extension writes its tables itself, and would not heed it."),
			 errhint("To act on events, work for a subscription: see subscribe().")));
}

/* sn_refuse_alter: what somebody would change of a relation of ours */
void
sn_refuse_alter(const char *what, Oid relid, const char *hint)
{
	require_owner(relid);
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s of \"%s.%s\" cannot be changed", what,
					get_namespace_name(get_rel_namespace(relid)),
					get_rel_name(relid)),
			 errdetail("The extension relies on its tables and views as it has made them."),
			 errhint("%s", hint)));
}

/* sn_refuse_object: a command on something of ours that is no relation */
void
sn_refuse_object(const char *command, const char *name)
{
	if (!sn_owns_extension(get_extension_oid("sentinai", false), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_EXTENSION, "sentinai");
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is refused for \"%s\", which belongs to extension \"sentinai\"",
					command, name),
			 errhint("Another version of it comes with ALTER EXTENSION sentinai UPDATE.")));
}
