/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * topic_slug.h
 *		The part of a topic's name that is a tenant's.
 *
 * Pure C.
 */
#ifndef SN_TOPIC_SLUG_H
#define SN_TOPIC_SLUG_H

/* Longest slug; a tenant that would need more is named by its digest. */
#define SN_TOPIC_SLUG_MAX 100

extern void sn_topic_slug(const char *tenant, char slug[SN_TOPIC_SLUG_MAX + 1]);

#endif							/* SN_TOPIC_SLUG_H */
