/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * statement.c
 *		Utility statements of ours, as SPI runs them; the end of a transaction.
 */
#include "postgres.h"

#include "executor/spi.h"

#include "store/statement.h"

/* sn_execute: one utility statement, with the current user's rights; SPI is connected */
void
sn_execute(const char *statement)
{
	if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", statement);
}

/* sn_leave_transaction: end the transaction of a CALL outside a block */
void
sn_leave_transaction(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect_ext failed");
	SPI_commit();
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}
