/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * secret_file.c
 *		Files that properties of sentinai.kafka_conf name.
 *
 * Who may set kafka_conf also says which broker gets a password.  So a secret
 * is only taken from a file in sentinai.secret_directory, which the server's
 * own file names: otherwise any private text of the server's user could be
 * sent anywhere.  A path is compared with the directory before the file
 * system is asked, so that nobody learns what lies elsewhere; then links are
 * followed, and what they lead to has to be in the directory as well.  Links
 * inside of it are fine, as mounted secrets are made of them.
 *
 * The directory and the file belong to the server's user or to root, and
 * nobody else may write the one or read the other.
 *
 * Invariants: no message has anything of a file's content.
 */
#include "broker/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *canonical_directory(const char *directory, const char *name,
								 char *err, size_t err_len);
static int	open_private(const char *place, const char *name,
						 const char *path, char *err, size_t err_len);
static bool is_private(const struct stat *st);
static bool is_below(const char *path, const char *directory);
static char *take_line(int fd, const char *name, const char *path,
					   char *err, size_t err_len);
static ssize_t read_fully(int fd, char *buf, size_t size);

/*
 * The place of a property's private file, without links, for the client
 * library to open.  The caller frees it.  NULL and a message when the file may
 * not be used.
 */
char *
sn_secret_place(const char *directory, const char *name, const char *path,
				char *err, size_t err_len)
{
	char	   *below = canonical_directory(directory, name, err, err_len);
	char	   *place;
	int			fd;

	if (below == NULL)
		return NULL;
	if (!is_below(path, directory))
	{
		snprintf(err, err_len, "file \"%s\" of \"%s\" is not in "
				 "sentinai.secret_directory", path, name);
		free(below);
		return NULL;
	}
	place = realpath(path, NULL);
	if (place == NULL)
		snprintf(err, err_len, "could not access file \"%s\" of \"%s\": %s",
				 path, name, strerror(errno));
	else if (!is_below(place, below))
	{
		snprintf(err, err_len, "file \"%s\" of \"%s\" is a link out of "
				 "sentinai.secret_directory", path, name);
		free(place);
		place = NULL;
	}
	free(below);
	if (place == NULL)
		return NULL;
	fd = open_private(place, name, path, err, err_len);
	if (fd >= 0)
	{
		close(fd);
		return place;
	}
	free(place);
	return NULL;
}

/*
 * Reads the secret of a property, without its final newline.  The caller
 * gives it to sn_secret_forget().  NULL and a message when it cannot.
 */
char *
sn_secret_read(const char *directory, const char *name, const char *path,
			   char *err, size_t err_len)
{
	char	   *place = sn_secret_place(directory, name, path, err, err_len);
	char	   *secret = NULL;
	int			fd;

	if (place == NULL)
		return NULL;
	fd = open_private(place, name, path, err, err_len);
	free(place);
	if (fd >= 0)
	{
		secret = take_line(fd, name, path, err, err_len);
		close(fd);
	}
	return secret;
}

/* Wipes and frees what sn_secret_read() returned; NULL is fine. */
void
sn_secret_forget(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, SN_SECRET_MAX + 2);
	free(secret);
}

/*
 * Can the client library read this file or directory?  A pipe or a device
 * would keep it, and with it the server's stop.
 */
bool
sn_public_file(const char *name, const char *path, char *err, size_t err_len)
{
	struct stat st;

	if (stat(path, &st) != 0 || access(path, R_OK) != 0)
		snprintf(err, err_len, "could not access file \"%s\" of \"%s\": %s",
				 path, name, strerror(errno));
	else if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		snprintf(err, err_len, "file \"%s\" of \"%s\" is not a plain file",
				 path, name);
	else
		return true;
	return false;
}

/* The directory without links, if only root and the server's user write it. */
static char *
canonical_directory(const char *directory, const char *name, char *err,
					size_t err_len)
{
	char	   *place;
	struct stat st;

	if (directory == NULL || *directory == '\0')
	{
		snprintf(err, err_len, "file of \"%s\" cannot be read: "
				 "sentinai.secret_directory is not set", name);
		return NULL;
	}
	place = realpath(directory, NULL);
	if (place == NULL || stat(place, &st) != 0)
	{
		snprintf(err, err_len, "could not access sentinai.secret_directory "
				 "\"%s\": %s", directory, strerror(errno));
		free(place);
		return NULL;
	}
	if (S_ISDIR(st.st_mode) && (st.st_mode & 022) == 0 &&
		(st.st_uid == geteuid() || st.st_uid == 0))
		return place;
	snprintf(err, err_len, "sentinai.secret_directory \"%s\" must be a "
			 "directory of the server's user or of root that no one else may "
			 "write to", directory);
	free(place);
	return NULL;
}

/* Opens a private plain file; -1 and a message when it is none. */
static int
open_private(const char *place, const char *name, const char *path,
			 char *err, size_t err_len)
{
	struct stat st;
	int			fd = open(place, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
						  O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &st) != 0)
		snprintf(err, err_len, "could not open file \"%s\" of \"%s\": %s",
				 path, name, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		snprintf(err, err_len, "file \"%s\" of \"%s\" is not a plain file",
				 path, name);
	else if (!is_private(&st))
		snprintf(err, err_len, "file \"%s\" of \"%s\" must belong to the "
				 "server's user with mode 0600, or to root with mode 0640",
				 path, name);
	else
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Of this user and closed to others, or of root and readable by its group. */
static bool
is_private(const struct stat *st)
{
	return (st->st_uid == geteuid() && (st->st_mode & 077) == 0) ||
		(st->st_uid == 0 && (st->st_mode & 037) == 0);
}

/* Does a path begin with a directory?  Neither may have ".." in it. */
static bool
is_below(const char *path, const char *directory)
{
	size_t		len = strlen(directory);

	while (len > 0 && directory[len - 1] == '/')
		len--;
	return strncmp(path, directory, len) == 0 && path[len] == '/';
}

/* The text of a file, without its final newline. */
static char *
take_line(int fd, const char *name, const char *path, char *err,
		  size_t err_len)
{
	char	   *secret = calloc(1, SN_SECRET_MAX + 2);
	ssize_t		len;

	if (secret == NULL)
	{
		snprintf(err, err_len, "out of memory");
		return NULL;
	}
	len = read_fully(fd, secret, SN_SECRET_MAX + 1);
	if (len > 0 && len <= SN_SECRET_MAX && secret[len - 1] == '\n')
		secret[--len] = '\0';
	if (len > 0 && len <= SN_SECRET_MAX && secret[len - 1] == '\r')
		secret[--len] = '\0';
	if (len > 0 && len <= SN_SECRET_MAX && strlen(secret) == (size_t) len)
		return secret;
	snprintf(err, err_len,
			 "file \"%s\" of \"%s\" must hold 1 to %d bytes of text",
			 path, name, SN_SECRET_MAX);
	sn_secret_forget(secret);
	return NULL;
}

/* Reads until the end or until size bytes; -1 on error. */
static ssize_t
read_fully(int fd, char *buf, size_t size)
{
	size_t		done = 0;
	ssize_t		got;

	while (done < size)
	{
		got = read(fd, buf + done, size - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += got;
	}
	return done;
}
