/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * sequencer_main.h
 *		The sequencer process.
 */
#ifndef SN_SEQUENCER_MAIN_H
#define SN_SEQUENCER_MAIN_H

#include "postgres.h"

#include "base/compat.h"

extern PGDLLEXPORT void sn_sequencer_main(Datum arg) pg_attribute_noreturn();

#endif							/* SN_SEQUENCER_MAIN_H */
