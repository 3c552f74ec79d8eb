/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * secret.c
 *	  Secrets of webhooks, from files.
 *
 * A secret is the file DIRECTORY/OWNER/NAME, where the owner is the tenant that
 * the tool belongs to: whoever writes a tenant's tools cannot name what is
 * another one's.  In the owner's name every byte but letters, digits, '-' and
 * '_' is %XX; so "*" is %2A, and no name leads out of the directory.
 *
 * A file that others than its owner may read is refused, as is one that holds
 * more than a line.  No error and no line of the log has what is in it.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret.h"

/* Shorter texts are not hidden in answers: they are everywhere. */
#define MIN_HIDDEN 4

/* Is this the name of a file in the folder itself? */
static bool
is_plain_name(const char *name)
{
	const char *p;

	for (p = name; *p != '\0'; p++)
		if (!isalnum((unsigned char) *p) && strchr("_-.", *p) == NULL)
			return false;
	return *name != '\0' && *name != '.';
}

/* Makes the path of a secret; false when it does not fit. */
static bool
make_path(char *path, size_t size, const char *directory, const char *owner,
		  const char *name)
{
	size_t		length = (size_t) snprintf(path, size, "%s/", directory);
	const unsigned char *p;

	for (p = (const unsigned char *) owner; *p != '\0' && length < size; p++)
	{
		bool		plain = *p < 0x80 && (isalnum(*p) || *p == '-' || *p == '_');

		length += (size_t) snprintf(path + length, size - length,
									plain ? "%c" : "%%%02X", *p);
	}
	if (length < size)
		length += (size_t) snprintf(path + length, size - length, "/%s", name);
	return length < size;
}

/* Is it a file that only its owner reads, who is we or root? */
static bool
is_private(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
		((status.st_uid == geteuid() && (status.st_mode & 077) == 0) ||
		 (status.st_uid == 0 && (status.st_mode & 037) == 0));
}

/* Reads up to `size` bytes; how many, or -1. */
static ssize_t
read_all(int fd, char *buffer, size_t size)
{
	size_t		length = 0;

	while (length < size)
	{
		ssize_t		n = read(fd, buffer + length, size - length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		length += (size_t) n;
	}
	return (ssize_t) length;
}

/* Is it one line that a header can be?  Cuts off the line's end. */
static bool
is_line(char *text, size_t length)
{
	size_t		i;

	while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
		text[--length] = '\0';
	for (i = 0; i < length; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return length > 0;
}

/* Reads a secret; NULL with the reason when it cannot be had. */
char *
secret_read(const char *directory, const char *owner, const char *name,
			const char **error)
{
	char		path[PATH_MAX];
	char	   *text;
	ssize_t		length = -1;
	int			fd;

	*error = "the secret cannot be read";
	if (directory == NULL || *directory == '\0' || !is_plain_name(name) ||
		!make_path(path, sizeof(path), directory, owner, name))
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	text = calloc(1, SECRET_MAX + 2);
	if (!is_private(fd))
		*error = "the file of the secret is not private";
	else if (text != NULL)
		length = read_all(fd, text, SECRET_MAX + 1);
	close(fd);
	if (length >= 0 && length <= SECRET_MAX && is_line(text, (size_t) length))
		return text;
	if (length >= 0)
		*error = "the secret is not one line of text";
	secret_free(text);
	return NULL;
}

/* Forgets a secret. */
void
secret_free(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, SECRET_MAX + 2);
	free(secret);
}

/* Puts stars where a text has a word. */
static void
hide_word(char *text, size_t length, const char *word)
{
	size_t		size = strlen(word);
	char	   *end = text + length;
	char	   *found = text;

	if (size < MIN_HIDDEN)
		return;
	while ((found = memmem(found, (size_t) (end - found), word, size)) != NULL)
	{
		memset(found, '*', size);
		found += size;
	}
}

/*
 * Puts stars where a text has a secret, whole or behind its scheme, as in
 * "Bearer abc": there are services that show what they were sent.
 */
void
secret_hide(char *text, size_t length, const char *secret)
{
	const char *blank = strrchr(secret, ' ');

	if (text == NULL)
		return;
	hide_word(text, length, secret);
	if (blank != NULL)
		hide_word(text, length, blank + 1);
}
