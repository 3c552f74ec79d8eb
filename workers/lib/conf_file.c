/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * conf_file.c
 *	  The form of a configuration file.
 *
 * A line is empty, a comment, a section or a setting:
 *
 *	  # comment			also with ';'; a whole line, never the end of one
 *	  [section]
 *	  name = value		the value is the rest of the line as it stands
 *	  name := "value"	with the escapes of JSON, for what a line cannot hold
 *
 * So no byte of a value means anything but itself, except blanks at its ends.
 * What a reader of another dialect would take for more than that (a line that
 * begins with a blank, a control character) is an error and never a guess.
 *
 * This is no use of inih: as distributions build it, it ends values at " ;",
 * joins indented lines to the value above and cuts lines at 200 bytes, and
 * none of that can be switched off at run time.
 */
#include <stdlib.h>
#include <string.h>

#include "conf_file.h"

/* Is this a blank within a line? */
static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts blanks off both ends, in place. */
static char *
trim(char *string)
{
	size_t		length;

	while (is_blank(*string))
		string++;
	length = strlen(string);
	while (length > 0 && is_blank(string[length - 1]))
		string[--length] = '\0';
	return string;
}

/* Keeps what is wrong with the line; returns false. */
static bool
refuse(ConfFile *file, const char *error)
{
	file->error = error;
	return false;
}

/* Makes room for one byte and a terminator. */
static bool
reserve(ConfFile *file, size_t length)
{
	size_t		size = file->size ? file->size * 2 : 256;
	char	   *line;

	if (length + 2 <= file->size)
		return true;
	line = realloc(file->line, size);
	if (line == NULL)
		return refuse(file, "out of memory");
	file->line = line;
	file->size = size;
	return true;
}

/* Reads one line without its end; false at the end of the file or an error. */
static bool
read_line(ConfFile *file)
{
	size_t		length = 0;
	int			c;

	c = getc(file->stream);
	if (c == EOF)
		return false;
	file->number++;
	for (; c != EOF && c != '\n'; c = getc(file->stream))
	{
		if (c == '\0')
			return refuse(file, "a zero byte; the file must be UTF-8 text");
		if (length == CONF_LINE_MAX)
			return refuse(file, "longer than 1 MB");
		if (!reserve(file, length))
			return false;
		file->line[length++] = (char) c;
	}
	if (!reserve(file, length))
		return false;
	if (length > 0 && file->line[length - 1] == '\r')
		length--;
	file->line[length] = '\0';
	return true;
}

/* Is there a control character besides the tab? */
static bool
has_control(const char *string)
{
	for (; *string != '\0'; string++)
		if ((unsigned char) *string < 0x20 && *string != '\t')
			return true;
	return false;
}

/* The character of a \u escape of an ASCII character, or -1. */
static int
read_unicode(const char *digits)
{
	char		hex[5] = "";
	char	   *end;
	long		code;

	if (strspn(digits, "0123456789abcdefABCDEF") < 4)
		return -1;
	memcpy(hex, digits, 4);
	code = strtol(hex, &end, 16);
	return code > 0 && code < 0x80 ? (int) code : -1;
}

/* The character that an escape stands for, or -1; passes what belongs to it. */
static int
read_escape(const char **in)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	char		letter = **in;
	const char *found;
	int			code;

	if (letter == '\0')
		return -1;
	(*in)++;
	if (letter == 'u')
	{
		code = read_unicode(*in);
		if (code >= 0)
			*in += 4;
		return code;
	}
	found = strchr(letters, letter);
	return found != NULL ? meanings[found - letters] : -1;
}

/* Turns "..." with escapes into what it stands for, in place. */
static bool
unquote(ConfFile *file, char *value)
{
	const char *in = value + 1;
	char	   *out = value;

	if (*value != '"')
		return refuse(file, "expected \"...\" after :=");
	for (; *in != '"'; out++)
	{
		int			c;

		if (*in == '\0')
			return refuse(file, "the value has no closing quote");
		if (*in != '\\')
		{
			*out = *in++;
			continue;
		}
		in++;
		c = read_escape(&in);
		if (c < 0)
			return refuse(file, "an escape that is not \\\" \\\\ \\/ \\b \\f "
						  "\\n \\r \\t or \\u0001 to \\u007f");
		*out = (char) c;
	}
	if (in[1] != '\0')
		return refuse(file, "something follows the closing quote");
	*out = '\0';
	return true;
}

/* Takes a line "[section]" apart. */
static bool
take_section(ConfFile *file, char *text, ConfLine *line)
{
	size_t		length = strlen(text);
	char	   *section;

	if (text[length - 1] != ']')
		return refuse(file, "expected [section] and nothing behind it");
	text[length - 1] = '\0';
	text = trim(text + 1);
	if (*text == '\0')
		return refuse(file, "the section has no name");
	section = strdup(text);
	if (section == NULL)
		return refuse(file, "out of memory");
	free(file->section);
	file->section = section;
	line->section = section;
	line->name = line->value = NULL;
	return true;
}

/* Takes a line "name = value" or "name := "value"" apart. */
static bool
take_setting(ConfFile *file, char *text, ConfLine *line)
{
	char	   *equals = strchr(text, '=');
	bool		is_quoted;

	if (equals == NULL)
		return refuse(file, "expected name = value");
	is_quoted = equals > text && equals[-1] == ':';
	*equals = '\0';
	if (is_quoted)
		equals[-1] = '\0';
	line->section = file->section ? file->section : "";
	line->name = trim(text);
	line->value = trim(equals + 1);
	if (*line->name == '\0')
		return refuse(file, "expected name = value");
	return !is_quoted || unquote(file, trim(equals + 1));
}

/* The next section or setting; false at the end or an error. */
bool
conf_file_next(ConfFile *file, ConfLine *line)
{
	while (read_line(file))
	{
		char	   *text = file->line;
		char	   *trimmed;
		bool		is_indented;

		if (file->number == 1 && strncmp(text, "\xEF\xBB\xBF", 3) == 0)
			text += 3;
		is_indented = is_blank(*text);
		if (!text_is_utf8(text))
			return refuse(file, "not UTF-8 text");
		trimmed = trim(text);
		if (*trimmed == '\0' || *trimmed == '#' || *trimmed == ';')
			continue;
		if (has_control(trimmed))
			return refuse(file, "a control character; write it as in "
						  "name := \"a\\nb\"");
		if (is_indented)
			return refuse(file, "begins with a blank; a value does not go on "
						  "in the next line");
		line->number = file->number;
		return *trimmed == '[' ? take_section(file, trimmed, line) :
			take_setting(file, trimmed, line);
	}
	if (file->error == NULL && ferror(file->stream))
		return refuse(file, "could not be read");
	return false;
}

/* Frees what reading has taken. */
void
conf_file_free(ConfFile *file)
{
	free(file->line);
	free(file->section);
	memset(file, 0, sizeof(*file));
}

/* Appends a setting as a line that reads back as the same value. */
void
conf_file_add(Text *text, const char *name, const char *value)
{
	size_t		length = strlen(value);
	bool		is_plain = length > 0 && !is_blank(value[0]) &&
		!is_blank(value[length - 1]) && !has_control(value);

	text_add(text, name);
	text_add(text, is_plain ? " = " : " := ");
	if (is_plain)
		text_add(text, value);
	else
		text_add_json_string(text, value);
	text_add(text, "\n");
}
