/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * printable.h
 *		What may stand in a name that people read in views and logs, and texts
 *		that can be stored whatever they are made of.
 */
#ifndef SN_PRINTABLE_H
#define SN_PRINTABLE_H

#include "postgres.h"

#define SN_PRINTABLE_HINT \
	"Control characters, line separators and marks that turn the direction of text are not printable."

#define SN_TYPE_NAME_MAX	128 /* bytes */
#define SN_TYPE_NAME_RULE \
	"must begin with a letter and consist of letters, digits and \"_.:-/\""

extern bool sn_is_printable(const text *t);
extern bool sn_is_type_name(const text *t);
extern text *sn_check_printable(text *t, const char *name);
extern text *sn_storable_text(const char *bytes, Size len, Size max);

#endif							/* SN_PRINTABLE_H */
