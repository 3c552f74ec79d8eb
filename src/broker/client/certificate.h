/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * certificate.h
 *		Why a broker's certificate is not accepted, in words that say what to change.
 *
 * Plain C without OpenSSL.
 */
#ifndef SN_BROKER_CERTIFICATE_H
#define SN_BROKER_CERTIFICATE_H

#include <stddef.h>

/* OpenSSL's number for a certificate of another host (X509_V_ERR_*) */
#define SN_CERTIFICATE_OTHER_HOST 62

extern void sn_certificate_refusal(int error, const char *hosts, char *text,
								   size_t text_len);

#endif							/* SN_BROKER_CERTIFICATE_H */
