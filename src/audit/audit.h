/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * audit.h
 *		Evidence of what the log has: a step of maintenance.
 */
#ifndef SN_AUDIT_H
#define SN_AUDIT_H

#include "postgres.h"

extern bool sn_audit_step(void);

#endif							/* SN_AUDIT_H */
