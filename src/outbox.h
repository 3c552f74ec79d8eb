/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * outbox.h
 *		The buffer behind the outbox view, see outbox.c.
 */
#ifndef SN_OUTBOX_H
#define SN_OUTBOX_H

#include "postgres.h"

extern void sn_outbox_forget(SubTransactionId subid);

#endif							/* SN_OUTBOX_H */
