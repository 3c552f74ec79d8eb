/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * index_paths.h
 *		No index tells a reader of tenants that he may not read.
 */
#ifndef SN_INDEX_PATHS_H
#define SN_INDEX_PATHS_H

extern void sn_index_paths_init(void);

#endif							/* SN_INDEX_PATHS_H */
