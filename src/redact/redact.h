/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact.h
 *		Redaction of what is published and of what is said about it.
 */
#ifndef SN_REDACT_H
#define SN_REDACT_H

#include "postgres.h"

#include "utils/jsonb.h"

#define SN_REDACTED_NAME	"redacted"	/* in metadata: what was redacted */

/* there is no rule; false also when that has to be looked up */
extern bool sn_no_redactions;

/* sn_redact_asks: whether an event needs the functions below at all */
static inline bool
sn_redact_asks(void)
{
	return !sn_no_redactions;
}

extern Jsonb *sn_redact_payload(const text *tenant_id, const text *event_type,
								Jsonb *payload, Size max);
extern bool sn_redact_surely_fits(const Jsonb *payload, Size text_before,
								  Size max_text);
extern Jsonb *sn_redact_metadata(const text *tenant_id, Jsonb *metadata,
								 Size max);
extern text *sn_redact_error(const text *tenant_id, const text *event_type,
							 text *error);
extern text *sn_redact_note(const text *tenant_id, const text *event_type,
							text *note);
extern void sn_redact_copy(const text *tenant_id, const text *event_type,
						   Datum *payload, Datum *metadata);
extern void sn_redactions_changed(void);

#endif							/* SN_REDACT_H */
