/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * statement.h
 *		Utility statements of ours.
 */
#ifndef SN_STATEMENT_H
#define SN_STATEMENT_H

extern void sn_execute(const char *statement);
extern void sn_leave_transaction(void);

#endif							/* SN_STATEMENT_H */
