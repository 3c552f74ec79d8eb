/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_size.h
 *		What a reader of a jsonb value will have to hold.
 */
#ifndef SN_JSON_SIZE_H
#define SN_JSON_SIZE_H

#include "postgres.h"

#include "utils/jsonb.h"

#define SN_JSON_DEPTH_MAX	500 /* arrays and objects inside one another */
#define SN_JSON_LEVEL_SIZE 8	/* bytes, at least, that one of them takes */
#define SN_JSON_ESCAPE_MAX 6	/* \u001f: a byte as text */
#define SN_JSON_TEXT_MAX	(256 * 1024 * 1024) /* bytes that can be handed on */

typedef enum SnJsonFit
{
	SN_JSON_FITS,
	SN_JSON_TOO_LARGE,
	SN_JSON_TOO_DEEP
} SnJsonFit;

extern SnJsonFit sn_json_measure(Jsonb *json, Size max_text, Size *size);
extern SnJsonFit sn_json_fit(Jsonb *json, Size max_text);
extern SnJsonFit sn_json_fit_stored(Datum value);

#endif							/* SN_JSON_SIZE_H */
