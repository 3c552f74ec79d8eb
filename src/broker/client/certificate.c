/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * certificate.c
 *		Why a broker's certificate is not accepted, in words that say what to change.
 */
#include "broker/client/certificate.h"

#include <stdio.h>

/* The property that names authorities is the same for every broker. */
#define AUTHORITIES		"ssl.ca.location"

/* OpenSSL's numbers for what can be wrong with a certificate (X509_V_ERR_*). */
static const struct
{
	int			code;
	const char *means;
	const char *property;		/* NULL: none; "": the one that names hosts */
}			refusals[] = {
	{2, "its issuer is not known", AUTHORITIES},
	{9, "it is not valid yet", NULL},
	{10, "it has expired", NULL},
	{18, "it is signed by itself and not known", AUTHORITIES},
	{19, "its authority is not known", AUTHORITIES},
	{20, "its issuer is not known", AUTHORITIES},
	{21, "its issuer is not known", AUTHORITIES},
	{23, "it has been revoked", NULL},
	{SN_CERTIFICATE_OTHER_HOST, "it is for another host name", ""},
	{64, "it is for another address", ""}
};

/* What OpenSSL's error says.  hosts: the property that names them. */
void
sn_certificate_refusal(int error, const char *hosts, char *text, size_t text_len)
{
	size_t		i;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
	{
		if (refusals[i].code != error)
			continue;
		if (refusals[i].property == NULL)
			snprintf(text, text_len, "%s", refusals[i].means);
		else
			snprintf(text, text_len, "%s (%s)", refusals[i].means,
					 refusals[i].property[0] == '\0' ? hosts :
					 refusals[i].property);
		return;
	}
	snprintf(text, text_len, "OpenSSL's error %d", error);
}
