/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * acting.c
 *		Whom the transaction acts for, as act_as() has said.
 *
 * It ends with the (sub)transaction that called act_as().  No setting is
 * involved, and so nothing survives in a session that the next client gets.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/names.h"
#include "base/text.h"
#include "store/xact_watch.h"
#include "tenancy/gate.h"

/* Whom the transaction acts for */
typedef struct Acting
{
	SubTransactionId subid;		/* that has said so, and whose end it is */
	Oid			role;			/* that has brought a proof; or InvalidOid */
	int			len;
	char		tenant_id[SN_TENANT_NAME_MAX];
} Acting;

bool		sn_acting = false;

static Acting acting;

/* acts_xact_end: the transaction is over, and so is this */
static void
acts_xact_end(XactEvent event)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		sn_acting = false;
}

static void
acts_subxact_end(SubXactEvent event, SubTransactionId subid)
{
	if ((event == SUBXACT_EVENT_COMMIT_SUB ||
		 event == SUBXACT_EVENT_ABORT_SUB) && subid == acting.subid)
		sn_acting = false;
}

static SnXactWatch watch = {.end = acts_xact_end,.sub_end = acts_subxact_end};

/* sn_acts_for: whether the transaction acts for this tenant */
bool
sn_acts_for(const text *tenant_id)
{
	return sn_text_has(tenant_id, acting.tenant_id, acting.len);
}

/* sn_acts_for_whom: the tenant that the transaction acts for, which it does */
text *
sn_acts_for_whom(void)
{
	return cstring_to_text_with_len(acting.tenant_id, acting.len);
}

/* sn_acts_proved: whether this role has proved that it may act */
bool
sn_acts_proved(Oid role)
{
	return sn_acting && acting.role == role;
}

/* sn_act_for: from now on; proved: the current user has brought a proof */
void
sn_act_for(const text *tenant_id, bool proved)
{
	sn_watch_xacts(&watch);
	if (!sn_acting)
		acting.subid = GetCurrentSubTransactionId();
	acting.role = proved ? GetUserId() : InvalidOid;
	acting.len = VARSIZE_ANY_EXHDR(tenant_id);
	memcpy(acting.tenant_id, VARDATA_ANY(tenant_id), acting.len);
	sn_acting = true;
}
