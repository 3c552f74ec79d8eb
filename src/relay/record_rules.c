/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * record_rules.c
 *		What a relay's record_options say: key, headers, topics, tombstones,
 *		and where its dead letters go.
 *
 * The text is a list of properties (props.c).  Lists have their items separated
 * by commas, and an item is "name:value", as Debezium's outbox router has them.
 * In names and values of headers a character that has a meaning there is
 * written as '%' and two hexadecimal digits.
 *
 * No header can be one of those that a format has, but extensions of CloudEvents
 * can be given: ce_ and lower-case letters and digits.
 */
#include "relay/record_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "broker/props.h"
#include "relay/record.h"

#define NAME_MAX_LEN 128		/* bytes of a header's name: AMQP's limit */
#define EXTENSION_MAX 20		/* bytes of one of CloudEvents' attributes */
#define METADATA "metadata."

/* What a list holds, and how */
typedef enum ItemKind
{
	ITEM_HEADER,				/* name:value, the first ':' counts */
	ITEM_METADATA,				/* key or key:header, the last ':' counts */
	ITEM_TOPIC,					/* type:template, the last ':' counts */
	ITEM_TYPE
} ItemKind;

typedef struct ListRule
{
	const char *option;
	ItemKind	kind;
	size_t		offset;			/* of the list in SnRecordRules */
} ListRule;

static const ListRule list_rules[] = {
	{"headers", ITEM_HEADER, offsetof(SnRecordRules, headers)},
	{"headers.metadata", ITEM_METADATA, offsetof(SnRecordRules, metadata)},
	{"topics", ITEM_TOPIC, offsetof(SnRecordRules, topics)},
	{"tombstones", ITEM_TYPE, offsetof(SnRecordRules, tombstones)}
};

#define NLISTS (sizeof(list_rules) / sizeof(list_rules[0]))

/* Says why not; always false. */
static bool
refuse_rule(char *err, size_t err_len, const char *option, const char *why)
{
	snprintf(err, err_len, "option \"%s\": %s", option, why);
	return false;
}

/* May this be one of the options? */
static bool
check_rule_prop(SnProp *prop, char *err, size_t err_len)
{
	size_t		i;

	for (i = 0; i < NLISTS; i++)
		if (strcmp(list_rules[i].option, prop->name) == 0)
			return sn_prop_check_text(prop, err, err_len);
	if (strcmp(prop->name, "key") == 0 ||
		strcmp(prop->name, "dead.letter.topic") == 0 ||
		strcmp(prop->name, "dead.letter.headers") == 0 ||
		strcmp(prop->name, "dedupe") == 0 ||
		strcmp(prop->name, "transform") == 0 ||
		strcmp(prop->name, "transform.timeout.ms") == 0)
		return sn_prop_check_text(prop, err, err_len);
	snprintf(err, err_len, "option \"%s\" does not exist", prop->name);
	return false;
}

/* Puts characters in place of their %XX; false when that is none. */
static bool
decode_percent(char *text)
{
	char	   *out = text;

	for (; *text != '\0'; text++)
	{
		int			c;

		if (*text != '%')
		{
			*out++ = *text;
			continue;
		}
		if (sn_hex_value(text[1]) < 0 || sn_hex_value(text[2]) < 0)
			return false;
		c = sn_hex_value(text[1]) * 16 + sn_hex_value(text[2]);
		if (c < ' ' || c > '~')
			return false;
		*out++ = (char) c;
		text += 2;
	}
	*out = '\0';
	return true;
}

/* Is it a word of a list of words, which blanks separate and surround? */
static bool
is_word_among(const char *words, const char *word)
{
	char		spaced[NAME_MAX_LEN + 3];

	snprintf(spaced, sizeof(spaced), " %s ", word);
	return strstr(words, spaced) != NULL;
}

/* Is it a header that somebody may give? */
static bool
check_header_name(const char *name, const char *option, char *err,
				  size_t err_len)
{
	size_t		len = strlen(name);
	const char *p;

	for (p = name; *p > ' ' && *p <= '~'; p++)
		continue;
	if (len == 0 || len > NAME_MAX_LEN || *p != '\0')
		return refuse_rule(err, err_len, option, "the name of a header has 1 to "
						   "128 printable ASCII characters and no blank");
	if (strncmp(name, "ce_", 3) == 0)
	{
		if (len - 3 > 0 && len - 3 <= EXTENSION_MAX &&
			strspn(name + 3, "abcdefghijklmnopqrstuvwxyz0123456789") == len - 3 &&
			!is_word_among(" specversion id source type time subject tenantid "
					   "correlationid causationid dataschema datacontenttype "
					   "data partitionkey traceparent tracestate ", name + 3))
			return true;
		return refuse_rule(err, err_len, option, "an extension of CloudEvents is "
						   "ce_ and 1 to 20 lower-case letters and digits, and "
						   "none that there is");
	}
	if (is_word_among(" id eventType event_id content-type traceparent tracestate ",
				  name) ||
		strncmp(name, "__connect.", 10) == 0 ||
		strncmp(name, "kafka_dlt-", 10) == 0 ||
		strncmp(name, "sentinai", 8) == 0 ||
		strncmp(name, "cloudEvents", 11) == 0)
		return refuse_rule(err, err_len, option,
						   "this name is one that the relay gives");
	return true;
}

/* Is an event type given that could be one? */
static bool
check_rule_type(const char *type, const char *option, char *err, size_t err_len)
{
	if (type[0] != '\0' && strlen(type) <= 255 &&
		type[strspn(type, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-/")] == '\0')
		return true;
	return refuse_rule(err, err_len, option, "there is no such event type");
}

/* Is this item what its list may hold? */
static bool
check_item(const ListRule *rule, SnRecordItem *item, char *err, size_t err_len)
{
	char		why[200];

	if ((rule->kind == ITEM_HEADER || rule->kind == ITEM_METADATA) &&
		(!decode_percent(item->name) ||
		 (item->value != NULL && !decode_percent(item->value))))
		return refuse_rule(err, err_len, rule->option, "% and two hexadecimal "
						   "digits are a printable ASCII character");
	switch (rule->kind)
	{
		case ITEM_HEADER:
			if (item->value == NULL || strlen(item->value) > SN_RULES_MAX_VALUE)
				return refuse_rule(err, err_len, rule->option, "an item is "
								   "name:value, with at most 1024 bytes of value");
			return check_header_name(item->name, rule->option, err, err_len);
		case ITEM_METADATA:
			if (item->name[0] == '\0')
				return refuse_rule(err, err_len, rule->option,
								   "an item is a key of the metadata, or key:header");
			return check_header_name(item->value, rule->option, err, err_len);
		case ITEM_TOPIC:
			if (item->value == NULL)
				return refuse_rule(err, err_len, rule->option,
								   "an item is type:topic");
			if (!sn_record_check_template(item->value, why, sizeof(why)))
				return refuse_rule(err, err_len, rule->option, why);
			return check_rule_type(item->name, rule->option, err, err_len);
		default:
			return check_rule_type(item->name, rule->option, err, err_len);
	}
}

/* The item of a name in a list, or NULL. */
static const SnRecordItem *
find_rule_item(const SnRecordItems *list, const char *name)
{
	int			i;

	for (i = 0; i < list->n; i++)
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	return NULL;
}

/* A copy without blanks at both ends; NULL without memory. */
static char *
copy_part(const char *text, size_t len)
{
	while (len > 0 && *text == ' ')
	{
		text++;
		len--;
	}
	while (len > 0 && text[len - 1] == ' ')
		len--;
	return strndup(text, len);
}

/* The ':' between the parts of an item, or NULL. */
static const char *
find_colon(const ListRule *rule, const char *text, size_t len)
{
	const char *found = NULL;
	size_t		i;

	for (i = 0; i < len && rule->kind != ITEM_TYPE; i++)
	{
		if (text[i] == ':')
			found = text + i;
		if (found != NULL && rule->kind == ITEM_HEADER)
			break;
	}
	return found;
}

/* An item of a list; false and a message when it cannot be one. */
static bool
add_rule_item(SnRecordItems *list, const ListRule *rule, const char *text,
		 size_t len, char *err, size_t err_len)
{
	const char *colon = find_colon(rule, text, len);
	size_t		name_len = colon == NULL ? len : (size_t) (colon - text);
	SnRecordItem *item;

	if (list->n == SN_RULES_MAX_ITEMS)
		return refuse_rule(err, err_len, rule->option, "there are too many items");
	item = &list->items[list->n++];
	item->name = copy_part(text, name_len);
	if (colon != NULL)
		item->value = copy_part(colon + 1, len - name_len - 1);
	else if (rule->kind == ITEM_METADATA)
		item->value = copy_part(text, len);
	if (item->name == NULL || (item->value == NULL &&
							   (colon != NULL || rule->kind == ITEM_METADATA)))
		return refuse_rule(err, err_len, rule->option, "out of memory");
	if (!check_item(rule, item, err, err_len))
		return false;
	if (find_rule_item(list, item->name) != item)
		return refuse_rule(err, err_len, rule->option,
						   "an item is given twice");
	return true;
}

/* Cuts the value of an option into the items of its list. */
static bool
read_list(SnRecordRules *rules, const ListRule *rule, const char *text,
		  char *err, size_t err_len)
{
	SnRecordItems *list = (SnRecordItems *) ((char *) rules + rule->offset);

	while (text != NULL && *text != '\0')
	{
		size_t		len = strcspn(text, ",;");

		if (!add_rule_item(list, rule, text, len, err, err_len))
			return false;
		text += len;
		if (*text != '\0')
			text++;
	}
	return true;
}

/* No header is given twice, and there are not too many. */
static bool
check_headers(const SnRecordRules *rules, char *err, size_t err_len)
{
	int			i;
	int			j;

	if (rules->headers.n + rules->metadata.n > SN_RULES_MAX_HEADERS)
		return refuse_rule(err, err_len, "headers", "there are more than 32");
	for (i = 0; i < rules->metadata.n; i++)
	{
		const char *name = rules->metadata.items[i].value;

		if (find_rule_item(&rules->headers, name) != NULL)
			return refuse_rule(err, err_len, "headers.metadata",
							   "a header is given twice");
		for (j = 0; j < i; j++)
			if (strcmp(rules->metadata.items[j].value, name) == 0)
				return refuse_rule(err, err_len, "headers.metadata",
								   "a header is given twice");
	}
	return true;
}

/* The number of a key of the metadata; it is added when it is new; -1: no room. */
static int
metadata_number(SnRecordRules *rules, const char *name, size_t len)
{
	SnRecordItems *list = &rules->metadata;
	int			i;

	for (i = 0; i < list->n; i++)
		if (strlen(list->items[i].name) == len &&
			strncmp(list->items[i].name, name, len) == 0)
			return i;
	if (list->n == SN_RULES_MAX_ITEMS)
		return -1;
	list->items[list->n].name = strndup(name, len);
	return list->items[list->n].name == NULL ? -1 : list->n++;
}

/*
 * The event's value for a placeholder of the key; NULL: it has none.  Without an
 * event: "" for a placeholder that there is.
 */
static const char *
key_value(const SnRecordRules *rules, const SnRecordEvent *event,
		  const char *name, size_t len)
{
	const char *values[][2] = {
		{"tenant", event == NULL ? "" : event->tenant_id},
		{"aggregate_type", event == NULL ? "" : event->aggregate_type},
		{"aggregate_id", event == NULL ? "" : event->aggregate_id},
		{"event_type", event == NULL ? "" : event->event_type},
		{"event_id", event == NULL ? "" : event->refused_id != NULL ?
		event->refused_id : event->event_id},
		{"correlation_id", event == NULL ? "" : event->correlation_id}
	};
	size_t		i;
	int			n;

	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (strlen(values[i][0]) == len && strncmp(values[i][0], name, len) == 0)
			return values[i][1];
	if (len <= strlen(METADATA) || strncmp(name, METADATA, strlen(METADATA)) != 0)
		return NULL;
	n = metadata_number((SnRecordRules *) rules, name + strlen(METADATA),
						len - strlen(METADATA));
	if (n < 0)
		return NULL;
	return event == NULL ? "" : sn_record_rules_value(event, n);
}

/* Can the template give keys? */
static bool
check_key(SnRecordRules *rules, char *err, size_t err_len)
{
	const char *p = rules->key;
	bool		any = false;

	if (strlen(p) > SN_RULES_MAX_VALUE)
		return refuse_rule(err, err_len, "key", "it is longer than 1024 bytes");
	while ((p = strchr(p, '{')) != NULL)
	{
		const char *end = strchr(p, '}');

		if (end == NULL || key_value(rules, NULL, p + 1, end - p - 1) == NULL)
			return refuse_rule(err, err_len, "key", "placeholders are {tenant}, "
							   "{aggregate_type}, {aggregate_id}, {event_type}, "
							   "{event_id}, {correlation_id} and {metadata.KEY}");
		any = true;
		p = end;
	}
	/* one key for all would promise an order that keys do not have */
	return any || refuse_rule(err, err_len, "key", "it has no placeholder");
}

/* Takes what is said of the dead-letter topic. */
static bool
take_dead_letter(SnRecordRules *rules, const SnProps *props, char *err,
				 size_t err_len)
{
	static const char *const names[] = {
		[SN_DEAD_BOTH] = "both", [SN_DEAD_CONNECT] = "connect",
		[SN_DEAD_SPRING] = "spring"
	};
	const char *topic = sn_props_get(props, "dead.letter.topic");
	const char *headers = sn_props_get(props, "dead.letter.headers");
	char		why[200];
	size_t		i = SN_DEAD_BOTH;

	if (topic != NULL && !sn_record_check_topic(topic, why, sizeof(why)))
		return refuse_rule(err, err_len, "dead.letter.topic", why);
	if (headers != NULL && topic == NULL)
		return refuse_rule(err, err_len, "dead.letter.headers",
						   "there is no dead.letter.topic");
	while (headers != NULL && i < 3 && strcmp(names[i], headers) != 0)
		i++;
	if (i == 3)
		return refuse_rule(err, err_len, "dead.letter.headers",
						   "it is \"connect\", \"spring\" or \"both\"");
	rules->dead_letter_headers = (SnDeadHeaders) i;
	rules->dead_letter_topic = topic == NULL ? NULL : strdup(topic);
	return topic == NULL || rules->dead_letter_topic != NULL ||
		refuse_rule(err, err_len, "dead.letter.topic", "out of memory");
}

/* Takes what is said of the transform; what it is the host knows. */
static bool
take_transform(SnRecordRules *rules, const SnProps *props, char *err,
			   size_t err_len)
{
	const char *name = sn_props_get(props, "transform");
	const char *timeout = sn_props_get(props, "transform.timeout.ms");
	char	   *end = NULL;
	long		ms = timeout == NULL ? 1000 : strtol(timeout, &end, 10);

	if (timeout != NULL && name == NULL)
		return refuse_rule(err, err_len, "transform.timeout.ms",
						   "there is no transform");
	if (ms < 1 || ms > SN_RULES_MAX_TIMEOUT || (end != NULL && *end != '\0'))
		return refuse_rule(err, err_len, "transform.timeout.ms",
						   "it is a number of milliseconds, 1 to 5000");
	rules->transform_timeout_ms = (int) ms;
	rules->transform = name == NULL ? NULL : strdup(name);
	return name == NULL || rules->transform != NULL ||
		refuse_rule(err, err_len, "transform", "out of memory");
}

/* Takes what is said of copies. */
static bool
take_dedupe(SnRecordRules *rules, const SnProps *props, char *err,
			size_t err_len)
{
	const char *value = sn_props_get(props, "dedupe");

	rules->dedupe_tail = value != NULL;
	return value == NULL || strcmp(value, "tail") == 0 ||
		refuse_rule(err, err_len, "dedupe", "it can only be tail");
}

/* Takes what the properties say. */
static bool
take_options(SnRecordRules *rules, const SnProps *props, char *err,
		   size_t err_len)
{
	const char *key = sn_props_get(props, "key");
	size_t		i;

	for (i = 0; i < NLISTS; i++)
		if (!read_list(rules, &list_rules[i],
					   sn_props_get(props, list_rules[i].option), err, err_len))
			return false;
	if (!check_headers(rules, err, err_len) ||
		!take_dead_letter(rules, props, err, err_len) ||
		!take_transform(rules, props, err, err_len) ||
		!take_dedupe(rules, props, err, err_len))
		return false;
	if (key == NULL)
		return true;
	rules->key = strdup(key);
	if (rules->key == NULL)
		return refuse_rule(err, err_len, "key", "out of memory");
	return check_key(rules, err, err_len);
}

/* Parses options; NULL and a message when they are refused. */
SnRecordRules *
sn_record_rules_parse(const char *text, char *err, size_t err_len)
{
	SnProps    *props = sn_props_parse(text, check_rule_prop, err, err_len);
	SnRecordRules *rules;

	if (props == NULL)
		return NULL;
	rules = calloc(1, sizeof(SnRecordRules));
	if (rules == NULL)
		snprintf(err, err_len, "out of memory");
	else if (!take_options(rules, props, err, err_len))
	{
		sn_record_rules_free(rules);
		rules = NULL;
	}
	sn_props_free(props);
	return rules;
}

/* Frees rules; NULL is fine. */
void
sn_record_rules_free(SnRecordRules *rules)
{
	size_t		i;
	int			j;

	if (rules == NULL)
		return;
	for (i = 0; i < NLISTS; i++)
	{
		SnRecordItems *list = (SnRecordItems *) ((char *) rules + list_rules[i].offset);

		for (j = 0; j < list->n; j++)
		{
			free(list->items[j].name);
			free(list->items[j].value);
		}
	}
	free(rules->key);
	free(rules->dead_letter_topic);
	free(rules->transform);
	free(rules);
}

/* The template of an event type's topic; NULL: the relay's. */
const char *
sn_record_rules_topic(const SnRecordRules *rules, const char *event_type)
{
	const SnRecordItem *item = find_rule_item(&rules->topics, event_type);

	return item == NULL ? NULL : item->value;
}

/* Is an event of this type sent without its payload? */
bool
sn_record_rules_tombstone(const SnRecordRules *rules, const char *event_type)
{
	return find_rule_item(&rules->tombstones, event_type) != NULL;
}

/* What an event has under a key of the metadata, by its number; NULL: nothing. */
const char *
sn_record_rules_value(const SnRecordEvent *event, int n)
{
	const char *p = event->metadata;

	if (p == NULL)
		return NULL;
	while (n-- > 0)
		p += strlen(p) + 1;
	return *p == '=' ? p + 1 : NULL;
}

/*
 * Fills the template of the key, or with out = NULL says how long it is.  False:
 * the event has not all that it names, and keeps the key of its format.
 */
bool
sn_record_rules_key(const SnRecordRules *rules, const SnRecordEvent *event,
					char *out, size_t *len)
{
	const char *p = rules->key;
	size_t		used = 0;

	while (*p != '\0')
	{
		const char *piece = p;
		size_t		n = 1;

		if (*p == '{')
		{
			const char *end = strchr(p, '}');

			piece = key_value(rules, event, p + 1, end - p - 1);
			if (piece == NULL)
				return false;
			n = strlen(piece);
			p = end;
		}
		if (out != NULL)
			memcpy(out + used, piece, n);
		used += n;
		p++;
	}
	*len = used;
	return used > 0;
}
