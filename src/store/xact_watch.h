/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * xact_watch.h
 *		Who wants to know how a transaction ends.
 */
#ifndef SN_XACT_WATCH_H
#define SN_XACT_WATCH_H

#include "postgres.h"

#include "access/xact.h"

typedef struct SnXactWatch
{
	void		(*end) (XactEvent event);
	void		(*sub_end) (SubXactEvent event, SubTransactionId subid);	/* or NULL */
	struct SnXactWatch *next;
	bool		listed;
} SnXactWatch;

extern void sn_watch_xacts(SnXactWatch *watch);

#endif							/* SN_XACT_WATCH_H */
