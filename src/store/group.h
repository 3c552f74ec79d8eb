/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * group.h
 *		Entering many rows at one place of a B-tree at once.
 */
#ifndef SN_GROUP_H
#define SN_GROUP_H

#include "postgres.h"

#include "access/itup.h"
#include "utils/rel.h"

extern bool sn_group_suits(Relation index);
extern int	sn_group_enter(Relation index, Relation heap, IndexTuple *items,
						   int n);

#endif							/* SN_GROUP_H */
