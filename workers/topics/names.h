/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * names.h
 *	  Topics that events of tenants go to, and what of a name is one tenant's.
 */
#ifndef SN_TOPIC_NAMES_H
#define SN_TOPIC_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "relay/record.h"

/* A topic, and the tenant that it is for; NULL: for several */
typedef struct Name
{
	char	   *topic;
	char	   *tenant;
} Name;

typedef struct Names
{
	Name	   *all;
	int			count;
	int			room;
} Names;

extern bool names_add(Names *names, const char *topic_template,
					  const char *tenant, const char *aggregate_type,
					  const char *event_type, char *err, size_t err_len);
extern bool names_sort(Names *names, char *err, size_t err_len);
extern bool names_cover(const Names *names, const char *topic_template,
						const char *tenant, const char *topic);
extern void names_free(Names *names);

extern bool template_has(const char *topic_template, const char *placeholder);
extern bool template_prefix(const char *topic_template, const char *tenant,
							char *prefix, size_t size);
extern void template_head(const char *topic_template, char *head, size_t size);

#endif							/* SN_TOPIC_NAMES_H */
