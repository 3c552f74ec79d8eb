/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * record_topic.c
 *		The topic of a record: a template, and what an event puts into it.
 *
 * A template has {tenant}, {aggregate_type} and {event_type}.  The result has
 * to be a name Kafka takes ([a-zA-Z0-9._-], 1 to 249 bytes, not "." or "..").
 * A tenant stands there as its slug, which is another for every tenant
 * (topic_slug.c).  An aggregate type or event type with any other character
 * makes the record impossible instead of being changed: two that differ only in
 * such a character would otherwise meet in one topic.
 */
#include "relay/record.h"

#include <stdio.h>
#include <string.h>

#include "relay/topic_slug.h"

/*
 * The event's value for a placeholder; NULL for an unknown one.  Without an
 * event: "" for a known one.  slug has room for the tenant's.
 */
static const char *
find_value(const char *name, size_t len, const SnRecordEvent *event,
		   char *slug)
{
	static const char *const names[] = {
		"tenant", "aggregate_type", "event_type"
	};
	const char *values[] = {"", "", ""};
	size_t		i;

	if (event != NULL)
	{
		values[0] = event->tenant_id;
		values[1] = event->aggregate_type;
		values[2] = event->event_type;
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		if (strlen(names[i]) != len || strncmp(names[i], name, len) != 0)
			continue;
		if (i > 0 || event == NULL)
			return values[i];
		sn_topic_slug(values[i], slug);
		return slug;
	}
	return NULL;
}

/* Does Kafka take this character in a topic name? */
bool
sn_is_topic_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

/*
 * Is it the name of a topic that a broker keeps for itself?  What a tenant
 * calls its things must not write to the groups' offsets.
 */
static bool
is_internal(const char *topic)
{
	return strncmp(topic, "__", 2) == 0;
}

/* Is the template one that can give topic names? */
bool
sn_record_check_template(const char *topic_template, char *err,
						 size_t err_len)
{
	const char *p = topic_template;
	const char *end;

	if (*p == '\0' || strlen(p) > SN_RECORD_MAX_TEMPLATE)
	{
		snprintf(err, err_len, "template must be 1 to %d bytes long",
				 SN_RECORD_MAX_TEMPLATE);
		return false;
	}
	while (*p != '\0')
	{
		if (*p == '{')
		{
			end = strchr(p, '}');
			if (end == NULL || find_value(p + 1, end - p - 1, NULL, NULL) == NULL)
			{
				snprintf(err, err_len, "placeholders are {tenant}, "
						 "{aggregate_type} and {event_type}");
				return false;
			}
			p = end + 1;
		}
		else if (sn_is_topic_char(*p))
			p++;
		else
		{
			snprintf(err, err_len, "a topic name may only contain letters, "
					 "digits, '.', '_' and '-'");
			return false;
		}
	}
	if (is_internal(topic_template))
	{
		snprintf(err, err_len, "a topic name cannot begin with \"__\", which "
				 "is for the broker's own topics");
		return false;
	}
	if (strchr(topic_template, '{') == NULL &&
		(strlen(topic_template) > SN_RECORD_MAX_TOPIC ||
		 strcmp(topic_template, ".") == 0 ||
		 strcmp(topic_template, "..") == 0))
	{
		snprintf(err, err_len, "a topic name has 1 to %d characters and is "
				 "not \".\" or \"..\"", SN_RECORD_MAX_TOPIC);
		return false;
	}
	return true;
}

/* Is it the name of a topic? */
bool
sn_record_check_topic(const char *topic, char *err, size_t err_len)
{
	if (strchr(topic, '{') == NULL)
		return sn_record_check_template(topic, err, err_len);
	snprintf(err, err_len, "a topic name may only contain letters, digits, "
			 "'.', '_' and '-'");
	return false;
}

/* Appends to the topic name, if the characters and the length allow it. */
static bool
append_topic(char *topic, size_t *used, const char *part, size_t len,
			 char *err, size_t err_len)
{
	size_t		i;

	if (len > SN_RECORD_MAX_TOPIC - *used)
	{
		snprintf(err, err_len, "topic name would be longer than %d bytes",
				 SN_RECORD_MAX_TOPIC);
		return false;
	}
	for (i = 0; i < len; i++)
	{
		if (!sn_is_topic_char(part[i]))
		{
			snprintf(err, err_len, "topic name would contain a character "
					 "other than letters, digits, '.', '_' and '-'");
			return false;
		}
	}
	memcpy(topic + *used, part, len);
	*used += len;
	return true;
}

/* Fills a template for an event; the topic has room for the longest name. */
bool
sn_record_fill_template(const char *topic_template, const SnRecordEvent *event,
						char *topic, char *err, size_t err_len)
{
	const char *p = topic_template;
	const char *end;
	const char *value;
	char		slug[SN_TOPIC_SLUG_MAX + 1];
	size_t		used = 0;

	while (*p != '\0')
	{
		if (*p == '{')
		{
			end = strchr(p, '}');
			value = find_value(p + 1, end - p - 1, event, slug);
			if (*value == '\0')
			{
				snprintf(err, err_len, "topic name cannot be made: %.*s} is "
						 "empty", (int) (end - p), p);
				return false;
			}
			if (!append_topic(topic, &used, value, strlen(value),
							  err, err_len))
				return false;
			p = end + 1;
		}
		else
		{
			size_t		len = strcspn(p, "{");

			if (!append_topic(topic, &used, p, len, err, err_len))
				return false;
			p += len;
		}
	}
	topic[used] = '\0';
	if (strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0)
	{
		snprintf(err, err_len, "topic name cannot be \".\" or \"..\"");
		return false;
	}
	if (is_internal(topic))
	{
		snprintf(err, err_len, "topic name cannot begin with \"__\"");
		return false;
	}
	return true;
}
