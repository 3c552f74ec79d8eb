/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * failure.h
 *		What the sequencer's process fails to do, for all to see.
 */
#ifndef SN_FAILURE_H
#define SN_FAILURE_H

#include "postgres.h"

#include "utils/timestamp.h"

extern void sn_failure_note(const char *step, const ErrorData *error,
							TimestampTz retry_at);
extern void sn_failure_over(const char *step);
extern bool sn_failure_known(const char *step);

#endif							/* SN_FAILURE_H */
