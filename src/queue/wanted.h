/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * wanted.h
 *		Whether an event of its stream is one for a subscription.
 */
#ifndef SN_WANTED_H
#define SN_WANTED_H

#include "postgres.h"

#include "log/log_read.h"
#include "queue/subscription.h"

extern bool sn_in_filter(const SnSub *sub, const SnFilter *filter,
						 SnLogReader *log);
extern bool sn_wanted(const SnSub *sub, const SnFilter *filter,
					  SnLogReader *log);
extern void sn_note_gone(const SnSub *sub, int n);

#endif							/* SN_WANTED_H */
