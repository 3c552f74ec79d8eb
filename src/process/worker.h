/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * worker.h
 *		The sequencer process.
 */
#ifndef SN_WORKER_H
#define SN_WORKER_H

#include "postgres.h"

#include "base/compat.h"

extern PGDLLEXPORT void sn_sequencer_main(Datum arg) pg_attribute_noreturn();

#endif							/* SN_WORKER_H */
