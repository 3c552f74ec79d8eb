/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * statement.h
 *		Utility statements of ours.
 */
#ifndef SN_STATEMENT_H
#define SN_STATEMENT_H

extern void sn_execute(const char *statement);

#endif							/* SN_STATEMENT_H */
