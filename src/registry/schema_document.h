/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * schema_document.h
 *		A JSON Schema as the document that it is.
 */
#ifndef SN_SCHEMA_DOCUMENT_H
#define SN_SCHEMA_DOCUMENT_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "registry/json_type.h"
#include "registry/json_walk.h"

/* A schema of a document: true, false or an object */
typedef JsonbValue SnDocument;

/* A set of types has both bits for numbers: an integer is one as well */
#define SN_ALL_NUMBERS	(SN_JSON_NUMBER | SN_JSON_INTEGER)
#define SN_ALL_TYPES	(SN_JSON_ANY | SN_JSON_INTEGER)

extern JsonbValue *sn_document_member(const SnDocument *schema,
									  const char *key);
extern JsonbValue *sn_document_member_of(const SnDocument *schema,
										 const char *keyword,
										 const SnJsonKey *key);
extern bool sn_document_has_ref(const JsonbValue *value);
extern JsonbValue *sn_document_target(JsonbContainer *document,
									  const JsonbValue *ref);
extern bool sn_document_only_ref(const SnDocument *schema);
extern int	sn_document_types(const SnDocument *schema);

#endif							/* SN_SCHEMA_DOCUMENT_H */
