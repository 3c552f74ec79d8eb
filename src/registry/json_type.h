/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_type.h
 *		The types of JSON values, as JSON Schema names them.
 */
#ifndef SN_JSON_TYPE_H
#define SN_JSON_TYPE_H

#include "postgres.h"

#include "utils/jsonb.h"

/* JSON's types as bits; an integer is also a number */
#define SN_JSON_NULL	0x01
#define SN_JSON_BOOLEAN	0x02
#define SN_JSON_OBJECT	0x04
#define SN_JSON_ARRAY	0x08
#define SN_JSON_NUMBER	0x10
#define SN_JSON_STRING	0x20
#define SN_JSON_INTEGER	0x40
#define SN_JSON_ANY		0x3F

extern int	sn_json_type_bit(const JsonbValue *name);
extern char *sn_json_type_names(int types);

#endif							/* SN_JSON_TYPE_H */
