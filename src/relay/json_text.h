/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_text.h
 *		A jsonb value as text.
 */
#ifndef SN_JSON_TEXT_H
#define SN_JSON_TEXT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

extern void sn_json_text(StringInfo out, JsonbContainer *root);

#endif							/* SN_JSON_TEXT_H */
