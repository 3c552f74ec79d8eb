/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * statement.c
 *		Utility statements of ours, as SPI runs them.
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
