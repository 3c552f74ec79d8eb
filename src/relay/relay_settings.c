/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_settings.c
 *		What a relay is told: where records go, and how they are made.
 *
 * The parameters of the server say it for the relay named "relay".  A process
 * keeps a copy, so that nothing changes in the midst of a connection.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/control_type.h"
#include "base/guc.h"
#include "base/sentinai.h"
#include "queue/filter.h"
#include "relay/relay_settings.h"

/* copy_setting: the value of a parameter; "" for none */
static char *
copy_setting(const char *value)
{
	return pstrdup(value == NULL ? "" : value);
}

/*
 * sn_relay_type_list: the names in a list that commas separate; the list is
 * written over
 */
List *
sn_relay_type_list(char *list)
{
	List	   *names = NIL;
	char	   *rest = *list == '\0' ? NULL : list;

	while (rest != NULL)
	{
		char	   *name = rest + strspn(rest, " \t\n");
		Size		len;

		rest = strchr(rest, ',');
		if (rest != NULL)
			*rest++ = '\0';
		len = strlen(name);
		while (len > 0 && strchr(" \t\n", name[len - 1]) != NULL)
			len--;
		name[len] = '\0';
		names = lappend(names, name);
	}
	return names;
}

/*
 * filter_of_server: what sentinai.relay_event_types comes to.  What has a topic
 * of its own is sent whatever types are named.
 */
static void
filter_of_server(const SnRelaySettings *settings, SnFilter *filter)
{
	List	   *names = sn_relay_type_list(copy_setting(sn_relay_event_types));
	Datum	   *elems;
	ListCell   *lc;
	int			n = 0;

	filter->types.n = filter->tenants.n = -1;
	if (names == NIL)
		return;
	if (settings->dead_letter_topic[0] != '\0')
		names = lappend(names, SN_TYPE_RECORD_REFUSED);
	if (settings->control_topic[0] != '\0')
	{
#define SN_ADD_NAME(name) names = lappend(names, name);
		SN_CONTROL_TYPES(SN_ADD_NAME)
#undef SN_ADD_NAME
	}
	elems = palloc(list_length(names) * sizeof(Datum));
	foreach(lc, names)
		elems[n++] = CStringGetTextDatum(lfirst(lc));
	sn_names_of(elems, n, &filter->types);
}

/* sn_relay_settings_of_server: what the server's parameters say */
void
sn_relay_settings_of_server(SnRelaySettings *settings)
{
	const SnProvider *provider = sn_provider_wanted();

	settings->name = cstring_to_text(SN_RELAY_WORKER_TYPE);
	settings->provider = provider;
	settings->conf = copy_setting(provider == NULL ? NULL : *provider->value);
	settings->workers = Max(sn_relay_workers, 1);
	settings->format = (SnRecordFormat) sn_record_format;
	settings->topic_template = copy_setting(sn_topic_template);
	settings->control_topic = copy_setting(sn_control_topic);
	settings->dead_letter_topic = copy_setting(sn_dead_letter_topic);
	filter_of_server(settings, &settings->filter);
}
