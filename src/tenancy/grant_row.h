/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * grant_row.h
 *		Rows of tenant_grant, work_grant and proof_role.
 */
#ifndef SN_GRANT_ROW_H
#define SN_GRANT_ROW_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "base/compat.h"
#include "store/store.h"

/* A walk over the roles that have grants for tenants, each once */
typedef struct SnGrantRoles
{
	Snapshot	snapshot;
	Oid			role;			/* at hand; InvalidOid: none yet */
} SnGrantRoles;

/* What work_grant says of a role and a subscription */
#define SN_WORK_GRANTED	0x01	/* the role may claim */
#define SN_WORK_FREE	0x02	/* nobody was granted to */

extern Oid	sn_tables_owner(void);
extern void sn_grant_roles_begin(SnGrantRoles *roles);
extern bool sn_grant_roles_next(SnGrantRoles *roles);
extern void sn_grant_roles_end(SnGrantRoles *roles);
extern int	sn_right_of(const text *name);
extern void sn_unknown_right(void) pg_attribute_noreturn();
extern int	sn_tenant_rights(Oid role, const text *tenant_id);
extern List *sn_granted_tenants(Oid role, int rights, int max);
extern int	sn_work_rights(Oid role, const text *worker_type);
extern bool sn_any_work_grant(void);
extern bool sn_needs_proof(Oid role);
extern bool sn_any_needs_proof(void);

extern bool sn_grant_find(SnRel table, SnRel index, int nkeys, ScanKey keys,
						  ItemPointer tid);

/* vanished.c */
extern bool sn_vanished_roles_step(void);

extern void sn_key_role(ScanKey key, AttrNumber column, Oid role);

#endif							/* SN_GRANT_ROW_H */
