/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * props.c
 *		The text of a setting that is a list of properties.
 *
 * The text is a list of key=value separated by comma, semicolon or newline.
 * A piece without '=' belongs to the value before it, so that
 * bootstrap.servers=a:9092,b:9092 needs no quotes.  White space around pieces,
 * keys and values does not count.  A key may occur once.
 *
 * What a property may be is for the provider's own parser to say.
 *
 * Invariants: no value is ever part of a message, only keys and paths of
 * secret files are.  No global state.
 */
#include "broker/props.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool split_props(SnProps *props, const char *text, char *err,
						size_t err_len);
static bool add_piece(SnProps *props, char separator, const char *piece,
					  size_t len, char *err, size_t err_len);
static bool add_prop(SnProps *props, const char *piece, const char *equals,
					 size_t len, char *err, size_t err_len);
static bool check_key_syntax(const char *name, char *err, size_t err_len);
static bool is_given_before(const SnProps *props, int n);
static char *copy_trimmed(const char *text, size_t len);

/*
 * Parses a setting; NULL and a message when it is refused.  Each property goes
 * through the provider's check, which may take the ".file" off its name.
 */
SnProps *
sn_props_parse(const char *text,
			   bool (*check) (SnProp *prop, char *err, size_t err_len),
			   char *err, size_t err_len)
{
	SnProps    *props;
	bool		good;
	int			i;

	if (strlen(text) > SN_PROPS_MAX_TEXT)
	{
		snprintf(err, err_len, "text is longer than %d bytes",
				 SN_PROPS_MAX_TEXT);
		return NULL;
	}
	props = calloc(1, sizeof(SnProps));
	if (props != NULL)
		props->props = calloc(SN_PROPS_MAX, sizeof(SnProp));
	if (props == NULL || props->props == NULL)
	{
		snprintf(err, err_len, "out of memory");
		sn_props_free(props);
		return NULL;
	}
	good = split_props(props, text, err, err_len);
	for (i = 0; i < props->nprops && good; i++)
	{
		good = check_key_syntax(props->props[i].name, err, err_len) &&
			check(&props->props[i], err, err_len);
		if (good && is_given_before(props, i))
		{
			snprintf(err, err_len, "property \"%s\" is given twice",
					 props->props[i].name);
			good = false;
		}
	}
	if (good)
		return props;
	sn_props_free(props);
	return NULL;
}

/* Frees a parsed setting; NULL is fine. */
void
sn_props_free(SnProps *props)
{
	int			i;

	if (props == NULL)
		return;
	for (i = 0; i < props->nprops; i++)
	{
		free(props->props[i].name);
		free(props->props[i].value);
	}
	free(props->props);
	free(props);
}

/* Value of a property that is not a secret, or NULL. */
const char *
sn_props_get(const SnProps *props, const char *name)
{
	int			i;

	for (i = 0; i < props->nprops; i++)
	{
		if (!props->props[i].from_file &&
			strcmp(props->props[i].name, name) == 0)
			return props->props[i].value;
	}
	return NULL;
}

/* Values are not empty, and printable. */
bool
sn_prop_check_text(const SnProp *prop, char *err, size_t err_len)
{
	const char *p;

	if (*prop->value == '\0')
	{
		snprintf(err, err_len, "property \"%s\" has no value", prop->name);
		return false;
	}
	for (p = prop->value; *p != '\0'; p++)
	{
		if (iscntrl((unsigned char) *p))
		{
			snprintf(err, err_len,
					 "value of \"%s\" contains a control character",
					 prop->name);
			return false;
		}
	}
	return true;
}

/* Paths are absolute, without "..", so that they mean one file. */
bool
sn_prop_check_path(const SnProp *prop, char *err, size_t err_len)
{
	size_t		len = strlen(prop->value);

	if (prop->value[0] == '/' && strstr(prop->value, "/../") == NULL &&
		(len < 3 || strcmp(prop->value + len - 3, "/..") != 0))
		return true;
	snprintf(err, err_len,
			 "value of \"%s%s\" must be an absolute path without \"..\"",
			 prop->name, prop->from_file ? ".file" : "");
	return false;
}

/* Cuts the text into pieces and the pieces into properties. */
static bool
split_props(SnProps *props, const char *text, char *err, size_t err_len)
{
	char		separator = '\n';
	size_t		len;

	for (;;)
	{
		len = strcspn(text, ",;\n");
		if (!add_piece(props, separator, text, len, err, err_len))
			return false;
		if (text[len] == '\0')
			return true;
		separator = text[len];
		text += len + 1;
	}
}

/* One piece: a new property, or more of the value before it. */
static bool
add_piece(SnProps *props, char separator, const char *piece, size_t len,
		  char *err, size_t err_len)
{
	const char *equals = memchr(piece, '=', len);
	SnProp	   *prop;
	char	   *more;
	char	   *value;

	if (equals != NULL)
		return add_prop(props, piece, equals, len, err, err_len);
	more = copy_trimmed(piece, len);
	if (more != NULL && *more == '\0')
	{
		free(more);
		return true;
	}
	if (more != NULL && props->nprops == 0)
	{
		free(more);
		snprintf(err, err_len, "text must begin with key=value");
		return false;
	}
	prop = &props->props[props->nprops - 1];
	value = more == NULL ? NULL :
		malloc(strlen(prop->value) + strlen(more) + 2);
	if (value == NULL)
	{
		free(more);
		snprintf(err, err_len, "out of memory");
		return false;
	}
	sprintf(value, "%s%c%s", prop->value, separator == '\n' ? ',' : separator,
			more);
	free(more);
	free(prop->value);
	prop->value = value;
	return true;
}

/* A new property of a piece. */
static bool
add_prop(SnProps *props, const char *piece, const char *equals, size_t len,
		 char *err, size_t err_len)
{
	SnProp	   *prop;

	if (props->nprops == SN_PROPS_MAX)
	{
		snprintf(err, err_len, "more than %d properties", SN_PROPS_MAX);
		return false;
	}
	prop = &props->props[props->nprops++];
	prop->name = copy_trimmed(piece, equals - piece);
	prop->value = copy_trimmed(equals + 1, piece + len - equals - 1);
	if (prop->name != NULL && prop->value != NULL)
		return true;
	snprintf(err, err_len, "out of memory");
	return false;
}

/* Keys are short, lower case, and made of what those of clients are made of. */
static bool
check_key_syntax(const char *name, char *err, size_t err_len)
{
	const char *p;

	for (p = name; *p != '\0'; p++)
	{
		if (!islower((unsigned char) *p) && !isdigit((unsigned char) *p) &&
			*p != '.' && *p != '_')
			break;
	}
	if (*p == '\0' && p > name && p - name <= 100)
		return true;
	snprintf(err, err_len, "name of a property must be 1 to 100 lower-case "
			 "letters, digits, dots or underscores");
	return false;
}

/* Has a property the name of one before it? */
static bool
is_given_before(const SnProps *props, int n)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if (strcmp(props->props[i].name, props->props[n].name) == 0)
			return true;
	}
	return false;
}

/* A copy without white space at both ends; NULL when out of memory. */
static char *
copy_trimmed(const char *text, size_t len)
{
	while (len > 0 && isspace((unsigned char) text[0]))
	{
		text++;
		len--;
	}
	while (len > 0 && isspace((unsigned char) text[len - 1]))
		len--;
	return strndup(text, len);
}
