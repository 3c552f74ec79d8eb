/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * right.h
 *		What can be granted for a tenant.
 */
#ifndef SN_RIGHT_H
#define SN_RIGHT_H

#define SN_TENANT_NAME_MAX 256	/* bytes */
#define SN_EVERY "*"			/* in place of a name: every tenant, every
								 * subscription, every type of event */

/* What a grant allows; a question names one of them, or several for any */
#define SN_RIGHT_PUBLISH	0x01
#define SN_RIGHT_WORK		0x02
#define SN_RIGHT_READ		0x04
#define SN_RIGHT_OPERATE	0x08
#define SN_RIGHT_AUDIT		0x10
#define SN_RIGHT_ADMIN		0x20	/* everything, for everybody */
#define SN_RIGHTS			6

#endif							/* SN_RIGHT_H */
