/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * launcher.h
 *		The process that keeps the workers of every database running.
 */
#ifndef SN_LAUNCHER_H
#define SN_LAUNCHER_H

#include "postgres.h"

#include "base/compat.h"

extern PGDLLEXPORT void sn_launcher_main(Datum arg) pg_attribute_noreturn();
extern void sn_launcher_init(void);

#endif							/* SN_LAUNCHER_H */
