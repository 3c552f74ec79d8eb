/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * gate.h
 *		Whether a caller may do something for a tenant.
 */
#ifndef SN_GATE_H
#define SN_GATE_H

#include "postgres.h"

#include "fmgr.h"

#include "base/compat.h"
#include "base/guc.h"
#include "tenancy/right.h"

extern bool sn_acting;			/* act_as() narrows this transaction */
extern bool sn_work_free;		/* no work_grant is there: nobody has to ask */

/* sn_gate_asks: whether the tenant of something matters at all */
static inline bool
sn_gate_asks(void)
{
	return sn_tenant_isolation || sn_acting;
}

extern bool sn_gate_may(int rights, const text *tenant_id);
extern bool sn_gate_may_claim(const text *worker_type);
extern bool sn_gate_may_watch(void);
extern bool sn_gate_is_admin(void);
extern bool sn_gate_needs_proof(void);
extern bool sn_gate_was_granted(int rights, const text *tenant_id);

/*
 * sn_may: whether the caller has one of the rights for a tenant; NULL: for
 * every tenant
 */
static inline bool
sn_may(int rights, const text *tenant_id)
{
	return !sn_gate_asks() || sn_gate_may(rights, tenant_id);
}

/* sn_may_claim: whether the caller may claim from a subscription */
static inline bool
sn_may_claim(const text *worker_type)
{
	return (!sn_gate_asks() && sn_work_free) || sn_gate_may_claim(worker_type);
}

extern void sn_require(int rights, const text *tenant_id, const char *what);
extern void sn_require_every(const char *what);
extern void sn_require_admin(const char *what);
extern void sn_refuse_tenant(const char *what) pg_attribute_noreturn();
extern void sn_refuse_worker_type(const char *what) pg_attribute_noreturn();
extern void sn_require_claim(const text *worker_type);
extern void sn_grants_changed(void);

/* Tenants that are listed at most */
#define SN_READABLE_MAX 1000

extern bool sn_gate_readable(text ***tenants, int *n);

/* Who is asked about while somebody else, as the owner, does the work */
extern Oid	sn_gate_asker(void);
extern Oid	sn_gate_ask_for(Oid role);

/* ask.c */
extern text *sn_tenant_or_every_arg(FunctionCallInfo fcinfo, int n,
									const char *name);
extern const text *sn_whose(const text *tenant_id);
extern int	sn_filter_rights(Oid function);

/* acting.c */
extern void sn_act_for(const text *tenant_id, bool proved);
extern bool sn_acts_for(const text *tenant_id);
extern text *sn_acts_for_whom(void);
extern bool sn_acts_proved(Oid role);

#endif							/* SN_GATE_H */
