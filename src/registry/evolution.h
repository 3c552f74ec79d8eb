/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * evolution.h
 *		Whether one schema takes all that another one lets through.
 */
#ifndef SN_EVOLUTION_H
#define SN_EVOLUTION_H

#include "postgres.h"

#include "registry/schema.h"

extern bool sn_schema_takes(Jsonb *reader, Jsonb *writer,
							SnSchemaErrors *errors);

#endif							/* SN_EVOLUTION_H */
