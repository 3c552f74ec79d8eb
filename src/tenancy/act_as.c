/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * act_as.c
 *		act_as(): one tenant for the rest of the transaction, or savepoint.
 *
 * It is for a pool of connections that serves many tenants: whoever asks the
 * gate gets no other tenant any more.  It only narrows, so it needs no right of
 * its own.
 *
 * A role that was marked by require_proof() may nothing until it brings a
 * proof: "<expiry>.<mac>", the expiry in seconds since 1970, the mac in
 * hexadecimal, HMAC-SHA-256 with the key of sentinai.proof_key_file over
 *
 *		v1 <newline> expiry <newline> role <newline> tenant
 *
 * A tenant has no newline and an expiry has only digits, so there is one way
 * to read it.  Every proof that is not good is answered alike.
 */
#include "postgres.h"

#include "common/hmac.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/printable.h"
#include "base/sqlstate.h"
#include "base/text.h"
#include "broker/secret_file.h"
#include "tenancy/gate.h"
#include "tenancy/grant_row.h"

#define EXPIRY_DIGITS	12
#define MAC_DIGITS		(2 * PG_SHA256_DIGEST_LENGTH)
#define ANY_RIGHT		(SN_RIGHT_PUBLISH | SN_RIGHT_WORK | SN_RIGHT_READ | \
						 SN_RIGHT_OPERATE | SN_RIGHT_AUDIT)

PG_FUNCTION_INFO_V1(sentinai_act_as);

/* refuse: the one answer, whatever is wrong */
static void pg_attribute_noreturn()
refuse(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_SN_TENANT_NOT_ALLOWED),
			 errmsg("tenant_id is not one the caller may act for"),
			 errhint("A transaction acts for one tenant. Some roles have to bring a proof that is valid and has not expired.")));
	pg_unreachable();
}

/* get_expiry: the digits up to the point; NULL when there are none or too many */
static const char *
get_expiry(const char *from, const char *end, int64 *expiry)
{
	const char *p = from;

	*expiry = 0;
	for (; p < end && p - from < EXPIRY_DIGITS && *p >= '0' && *p <= '9'; p++)
		*expiry = *expiry * 10 + (*p - '0');
	return p > from && p < end && *p == '.' ? p + 1 : NULL;
}

/* get_mac: the digits after the point */
static bool
get_mac(const char *from, const char *end, uint8 *mac)
{
	return end - from == MAC_DIGITS &&
		sn_hex_bytes(from, PG_SHA256_DIGEST_LENGTH, mac);
}

/* compute_mac: the mac of a text */
static void
compute_mac(const char *key, const char *message, Size len, uint8 *mac)
{
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);
	bool		done;

	done = hmac != NULL &&
		pg_hmac_init(hmac, (const uint8 *) key, strlen(key)) >= 0 &&
		pg_hmac_update(hmac, (const uint8 *) message, len) >= 0 &&
		pg_hmac_final(hmac, mac, PG_SHA256_DIGEST_LENGTH) >= 0;
	pg_hmac_free(hmac);
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the digest of a proof")));
}

/* expected_mac: what the mac of a good proof would be */
static void
expected_mac(int64 expiry, const text *tenant_id, uint8 *mac)
{
	char		err[256];
	char	   *message = psprintf("v1\n" INT64_FORMAT "\n%s\n%s", expiry,
								   GetUserNameFromId(GetUserId(), false),
								   text_to_cstring(tenant_id));
	char	   *key = sn_secret_read(sn_secret_directory,
									 "sentinai.proof_key_file",
									 sn_proof_key_file, err, sizeof(err));

	if (key == NULL)
	{
		ereport(LOG, (errmsg("no proof can be checked: %s", err)));
		refuse();
	}
	PG_TRY();
	{
		compute_mac(key, message, strlen(message), mac);
	}
	PG_FINALLY();
	{
		sn_secret_forget(key);
	}
	PG_END_TRY();
}

/* is_proof: whether a proof is good for the caller and a tenant, now */
static bool
is_proof(const text *proof, const text *tenant_id)
{
	const char *p = VARDATA_ANY(proof);
	const char *end = p + VARSIZE_ANY_EXHDR(proof);
	uint8		given[PG_SHA256_DIGEST_LENGTH];
	uint8		expected[PG_SHA256_DIGEST_LENGTH];
	uint8		differs = 0;
	int64		expiry;
	int			i;

	p = get_expiry(p, end, &expiry);
	if (p == NULL || !get_mac(p, end, given))
		return false;
	expected_mac(expiry, tenant_id, expected);
	for (i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)	/* always all of them */
		differs |= given[i] ^ expected[i];
	return differs == 0 &&
		expiry > timestamptz_to_time_t(GetCurrentTimestamp());
}

/* act_as(tenant text, proof text) returns void */
Datum
sentinai_act_as(PG_FUNCTION_ARGS)
{
	text	   *tenant_id = sn_text_arg(fcinfo, 0, "tenant",
										SN_TENANT_NAME_MAX);
	bool		proved = false;

	(void) sn_check_printable(tenant_id, "tenant");
	if (sn_acting && !sn_acts_for(tenant_id))
		refuse();
	if (!PG_ARGISNULL(1))
		proved = is_proof(PG_GETARG_TEXT_PP(1), tenant_id);
	if (!proved && (!PG_ARGISNULL(1) || sn_gate_needs_proof()))
		refuse();
	if (sn_tenant_isolation && !sn_gate_was_granted(ANY_RIGHT, tenant_id))
		refuse();
	sn_act_for(tenant_id, proved);
	PG_RETURN_VOID();
}
