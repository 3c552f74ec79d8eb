/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * utility.h
 *		What other people's commands mean for us.
 */
#ifndef SN_UTILITY_H
#define SN_UTILITY_H

#include "postgres.h"

#include "nodes/nodes.h"

extern void sn_announce_drop(Node *stmt);
extern void sn_guard_alter(Node *stmt);
extern void sn_guard_move(Node *stmt);
extern void sn_guard_made(Node *stmt);
extern void sn_guard_secret(Node *stmt);
extern void sn_guard_tables(Node *stmt);
extern void sn_utility_init(void);

#endif							/* SN_UTILITY_H */
