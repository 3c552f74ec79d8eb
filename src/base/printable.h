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

extern bool sn_is_printable(const text *t);
extern text *sn_check_printable(text *t, const char *name);
extern text *sn_storable_text(const char *bytes, Size len, Size max);

#endif							/* SN_PRINTABLE_H */
