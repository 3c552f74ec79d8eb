/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_document.c
 *		A JSON Schema as the document that it is: what a keyword holds, and
 *		where a reference leads.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "registry/json_type.h"
#include "registry/json_walk.h"
#include "registry/schema.h"
#include "registry/schema_document.h"

/* sn_document_member: of an object, or NULL */
JsonbValue *
sn_document_member(const SnDocument *schema, const char *key)
{
	return schema->type != jbvBinary ? NULL :
		getKeyJsonValueFromContainer(schema->val.binary.data, key,
									 strlen(key), NULL);
}

/* sn_document_member_of: of a member that is an object, by any key, or NULL */
JsonbValue *
sn_document_member_of(const SnDocument *schema, const char *keyword,
					  const SnJsonKey *key)
{
	JsonbValue *inner = sn_document_member(schema, keyword);

	return inner == NULL || inner->type != jbvBinary ? NULL :
		getKeyJsonValueFromContainer(inner->val.binary.data, key->name,
									 key->len, NULL);
}

/* sn_document_has_ref: whether something in a value depends on its document */
bool
sn_document_has_ref(const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	part;
	bool		found = false;

	if (value->type != jbvBinary)
		return false;
	iterator = JsonbIteratorInit(value->val.binary.data);
	while (!found &&
		   (token = JsonbIteratorNext(&iterator, &part, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		found = token == WJB_KEY && part.val.string.len == 4 &&
			memcmp(part.val.string.val, "$ref", 4) == 0;
	}
	return found;
}

/*
 * sn_document_target: what a $ref leads to, or NULL when it is none that is
 * followed here: # or a pointer of plain keys
 */
JsonbValue *
sn_document_target(JsonbContainer *document, const JsonbValue *ref)
{
	char	   *at = pnstrdup(ref->val.string.val, ref->val.string.len);
	JsonbValue *value = palloc0(sizeof(JsonbValue));

	if (at[0] != '#' || strpbrk(at, "~%") != NULL ||
		(at[1] != '\0' && at[1] != '/'))
		return NULL;
	value->type = jbvBinary;
	value->val.binary.data = document;
	for (at = strchr(at, '/'); at != NULL;)
	{
		char	   *key = at + 1;	/* it may be empty: a name as any other */

		at = strchr(key, '/');
		if (at != NULL)
			*at = '\0';
		if (!sn_json_is_object(value))
			return NULL;
		value = sn_document_member(value, key);
		if (value == NULL)
			return NULL;
	}
	return value->type == jbvBool || sn_json_is_object(value) ? value : NULL;
}

/* sn_document_only_ref: whether a schema asks for nothing but its $ref */
bool
sn_document_only_ref(const SnDocument *schema)
{
	SnJsonWalk	walk;
	SnJsonKey	key;
	JsonbValue	value;

	sn_json_walk(&walk, schema->val.binary.data);
	while (sn_json_next(&walk, &key, &value))
	{
		char	   *name = pnstrdup(key.name, key.len);
		bool		more = strcmp(name, "$ref") != 0 && !sn_schema_is_note(name);

		pfree(name);
		if (more)
			return false;
	}
	return true;
}

/* bits_of_type: the values that have a type */
static int
bits_of_type(const JsonbValue *name)
{
	int			bit = sn_json_type_bit(name);

	return bit == SN_JSON_NUMBER ? SN_ALL_NUMBERS : bit;
}

/* sn_document_types: the types that values of a schema may have */
int
sn_document_types(const SnDocument *schema)
{
	JsonbValue *type = sn_document_member(schema, "type");
	SnJsonWalk	walk;
	JsonbValue	name;
	int			types = 0;

	if (type == NULL)
		return SN_ALL_TYPES;
	if (type->type == jbvString)
		return bits_of_type(type);
	sn_json_walk(&walk, type->val.binary.data);
	while (sn_json_next(&walk, NULL, &name))
		types |= bits_of_type(&name);
	return types;
}
