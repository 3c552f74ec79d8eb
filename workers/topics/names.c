/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * names.c
 *	  Topics that events of tenants go to, and what of a name is one tenant's.
 *
 * The names are made by the code of the relay.
 */
#include "names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/topic_slug.h"

#define TENANT "{tenant}"

/* Does a template have a placeholder, as "{tenant}"? */
bool
template_has(const char *topic_template, const char *placeholder)
{
	return strstr(topic_template, placeholder) != NULL;
}

/* What of a template stands in front of its first placeholder. */
void
template_head(const char *topic_template, char *head, size_t size)
{
	snprintf(head, size, "%.*s", (int) strcspn(topic_template, "{"),
			 topic_template);
}

/*
 * The prefix that all topics of a tenant have, and no others: the tenant is the
 * first placeholder, and a '.' or '_' follows it, which no slug has in it.
 */
bool
template_prefix(const char *topic_template, const char *tenant, char *prefix,
				size_t size)
{
	size_t		head = strcspn(topic_template, "{");
	const char *behind = topic_template + head + strlen(TENANT);
	char		slug[SN_TOPIC_SLUG_MAX + 1];

	if (strncmp(topic_template + head, TENANT, strlen(TENANT)) != 0 ||
		(*behind != '.' && *behind != '_'))
		return false;
	sn_topic_slug(tenant, slug);
	snprintf(prefix, size, "%.*s%s%c", (int) head, topic_template, slug, *behind);
	return true;
}

/* A name, with its tenant when it is one tenant's; false: out of memory. */
static bool
set_name(Name *name, const char *topic, const char *tenant)
{
	name->topic = strdup(topic);
	name->tenant = tenant == NULL ? NULL : strdup(tenant);
	return name->topic != NULL && (tenant == NULL || name->tenant != NULL);
}

/* One more name, not yet set; NULL: out of memory. */
static Name *
next_name(Names *names)
{
	if (names->count == names->room)
	{
		int			room = names->room == 0 ? 64 : names->room * 2;
		Name	   *all = realloc(names->all, (size_t) room * sizeof(Name));

		if (all == NULL)
			return NULL;
		names->all = all;
		names->room = room;
	}
	return &names->all[names->count++];
}

/* Adds the topic of an event; false and why when there is none. */
bool
names_add(Names *names, const char *topic_template, const char *tenant,
		  const char *aggregate_type, const char *event_type, char *err,
		  size_t err_len)
{
	SnRecordEvent event = {
		.tenant_id = tenant, .aggregate_type = aggregate_type,
		.event_type = event_type
	};
	char		topic[SN_RECORD_MAX_TOPIC + 1];
	Name	   *name;

	if (!sn_record_fill_template(topic_template, &event, topic, err, err_len))
		return false;
	name = next_name(names);
	if (name != NULL && set_name(name, topic, template_has(topic_template, TENANT) ?
								 tenant : NULL))
		return true;
	snprintf(err, err_len, "out of memory");
	return false;
}

/* Order of two names. */
static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const Name *) a)->topic, ((const Name *) b)->topic);
}

/* Is a topic two tenants'?  Of sorted names; says which. */
static bool
is_shared(const Name *a, const Name *b, char *err, size_t err_len)
{
	if (strcmp(a->topic, b->topic) != 0 || a->tenant == NULL ||
		strcmp(a->tenant, b->tenant) == 0)
		return false;
	snprintf(err, err_len, "%s would be a topic of %s and of %s", a->topic,
			 a->tenant, b->tenant);
	return true;
}

/*
 * Sorts the names; of those that are the same one stays.  False and why when
 * that would be the topic of two tenants.
 */
bool
names_sort(Names *names, char *err, size_t err_len)
{
	int			kept = 0;
	int			i;

	if (names->count == 0)
		return true;
	qsort(names->all, (size_t) names->count, sizeof(Name), compare_names);
	for (i = 1; i < names->count; i++)
		if (is_shared(&names->all[i - 1], &names->all[i], err, err_len))
			return false;
	for (i = 1; i < names->count; i++)
	{
		if (strcmp(names->all[i].topic, names->all[kept].topic) == 0)
		{
			free(names->all[i].topic);
			free(names->all[i].tenant);
		}
		else
			names->all[++kept] = names->all[i];
	}
	names->count = kept + 1;
	return true;
}

/* Is a topic one of a tenant's, by its prefix or by name? */
bool
names_cover(const Names *names, const char *topic_template, const char *tenant,
			const char *topic)
{
	char		prefix[SN_RECORD_MAX_TEMPLATE + SN_TOPIC_SLUG_MAX + 2];
	int			i;

	if (template_prefix(topic_template, tenant, prefix, sizeof(prefix)))
		return strncmp(topic, prefix, strlen(prefix)) == 0;
	for (i = 0; i < names->count; i++)
		if (names->all[i].tenant != NULL &&
			strcmp(names->all[i].tenant, tenant) == 0 &&
			strcmp(names->all[i].topic, topic) == 0)
			return true;
	return false;
}

/* Frees all. */
void
names_free(Names *names)
{
	int			i;

	for (i = 0; i < names->count; i++)
	{
		free(names->all[i].topic);
		free(names->all[i].tenant);
	}
	free(names->all);
}
