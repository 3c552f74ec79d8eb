/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * pin.h
 *		The settings of the workers.
 */
#ifndef SN_PIN_H
#define SN_PIN_H

#include "postgres.h"

extern void sn_connect_worker(Oid dboid, const char *name);
extern void sn_pin(const char *name, const char *value);

#endif							/* SN_PIN_H */
