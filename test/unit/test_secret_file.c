/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * test_secret_file.c
 *		Which files kafka_conf may name, and what is read of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/secret_file.h"

static char err[512];
static char top[64];			/* of a test's files */
static char dir[80];			/* the directory that is allowed */
static char path[128];			/* a file in it */

/* Makes a file with some content and mode. */
static void
make_file(const char *name, const void *data, size_t len, mode_t mode)
{
	FILE	   *out = fopen(name, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(data, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(name, mode), 0);
}

/* Each test has a directory that only it knows. */
static int
make_place(void **state)
{
	(void) state;
	strcpy(top, "/tmp/sn_secret_XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(dir, sizeof(dir), "%s/secrets", top);
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/secret", dir);
	err[0] = '\0';
	return 0;
}

static int
remove_place(void **state)
{
	char		command[128];

	(void) state;
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

/* Is this the secret that is read? */
static void
assert_secret(const char *text)
{
	char	   *secret = sn_secret_read(dir, "p", path, err, sizeof(err));

	if (secret == NULL)
		fail_msg("%s", err);
	assert_string_equal(secret, text);
	sn_secret_forget(secret);
}

/* Is the file refused in both ways, with a word of the reason? */
static void
assert_refused(const char *directory, const char *file, const char *reason)
{
	char	   *(*const ways[]) (const char *, const char *, const char *,
								 char *, size_t) = {
		sn_secret_read, sn_secret_place
	};
	int			i;

	for (i = 0; i < 2; i++)
	{
		err[0] = '\0';
		assert_null(ways[i] (directory, "p", file, err, sizeof(err)));
		if (strstr(err, reason) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", err, reason);
		assert_null(strstr(err, "s3cret"));
	}
}

/* Secrets come from private plain files of bounded size. */
static void
test_content(void **state)
{
	char	   *big = malloc(SN_SECRET_MAX + 1);
	char	   *secret;

	(void) state;
	memset(big, 'x', SN_SECRET_MAX + 1);
	assert_refused(dir, path, path);
	make_file(path, "s3cret =,;x\r\n", 13, 0600);
	assert_secret("s3cret =,;x");
	sn_secret_forget(NULL);
	make_file(path, "\n", 1, 0600);
	assert_null(sn_secret_read(dir, "p", path, err, sizeof(err)));
	make_file(path, "", 0, 0600);
	assert_null(sn_secret_read(dir, "p", path, err, sizeof(err)));
	make_file(path, "a\0b", 3, 0600);
	assert_null(sn_secret_read(dir, "p", path, err, sizeof(err)));
	make_file(path, big, SN_SECRET_MAX + 1, 0600);
	assert_null(sn_secret_read(dir, "p", path, err, sizeof(err)));
	make_file(path, big, SN_SECRET_MAX, 0600);
	secret = sn_secret_read(dir, "p", path, err, sizeof(err));
	assert_non_null(secret);
	assert_int_equal(strlen(secret), SN_SECRET_MAX);
	sn_secret_forget(secret);
	free(big);
}

/* A file that others may read, or that is no file, is refused. */
static void
test_modes(void **state)
{
	(void) state;
	make_file(path, "s3cret\n", 7, 0644);
	assert_refused(dir, path, "0600");
	chmod(path, 0660);
	assert_refused(dir, path, "0600");
	chmod(path, 0600);
	assert_secret("s3cret");
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(dir, path, "plain file");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(dir, path, "plain file");
}

/* The directory has to be named, and to be closed to others' writing. */
static void
test_directory(void **state)
{
	char		gone[128];

	(void) state;
	make_file(path, "s3cret\n", 7, 0600);
	assert_refused(NULL, path, "is not set");
	assert_refused("", path, "is not set");
	snprintf(gone, sizeof(gone), "%s/gone", top);
	assert_refused(gone, path, "secret_directory");
	assert_refused(path, path, "must be a directory");
	chmod(dir, 0770);
	assert_refused(dir, path, "no one else may write");
	chmod(dir, 0707);
	assert_refused(dir, path, "no one else may write");
	chmod(dir, 0755);
	assert_secret("s3cret");
	strcat(dir, "//");
	assert_secret("s3cret");
}

/* What lies elsewhere is not read, and nobody learns whether it is there. */
static void
test_elsewhere(void **state)
{
	char		other[128];

	(void) state;
	snprintf(other, sizeof(other), "%s-of-others", dir);
	assert_int_equal(mkdir(other, 0700), 0);
	strcat(other, "/secret");
	assert_refused(dir, other, "is not in sentinai.secret_directory");
	make_file(other, "s3cret\n", 7, 0600);
	assert_refused(dir, other, "is not in sentinai.secret_directory");
	assert_refused(dir, "/etc/passwd", "is not in sentinai.secret_directory");
	assert_int_equal(symlink(other, path), 0);
	assert_refused(dir, path, "link out of");
}

/* Links inside the directory are followed, as mounted secrets have them. */
static void
test_links(void **state)
{
	char		data[128];
	char		link[128];
	char	   *place;

	(void) state;
	snprintf(data, sizeof(data), "%s/..1", dir);
	assert_int_equal(mkdir(data, 0700), 0);
	strcat(data, "/secret");
	make_file(data, "s3cret\n", 7, 0600);
	snprintf(link, sizeof(link), "%s/..data", dir);
	assert_int_equal(symlink("..1", link), 0);
	assert_int_equal(symlink("..data/secret", path), 0);
	assert_secret("s3cret");
	place = sn_secret_place(dir, "p", path, err, sizeof(err));
	assert_non_null(place);
	assert_string_equal(place, data);
	free(place);

	/* and one that leads to the directory */
	snprintf(link, sizeof(link), "%s/link", top);
	assert_int_equal(symlink(dir, link), 0);
	strcpy(dir, link);
	snprintf(path, sizeof(path), "%s/secret", dir);
	assert_secret("s3cret");
}

/* Certificates may be public, but no pipe and no device. */
static void
test_public(void **state)
{
	(void) state;
	assert_false(sn_public_file("p", path, err, sizeof(err)));
	assert_non_null(strstr(err, path));
	make_file(path, "x", 1, 0644);
	assert_true(sn_public_file("p", path, err, sizeof(err)));
	assert_true(sn_public_file("p", dir, err, sizeof(err)));
	assert_false(sn_public_file("p", "/dev/zero", err, sizeof(err)));
	unlink(path);
	assert_int_equal(mkfifo(path, 0644), 0);
	assert_false(sn_public_file("p", path, err, sizeof(err)));
}

#define TEST(function) \
	cmocka_unit_test_setup_teardown(function, make_place, remove_place)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_content),
		TEST(test_modes),
		TEST(test_directory),
		TEST(test_elsewhere),
		TEST(test_links),
		TEST(test_public)
	};

	return cmocka_run_group_tests_name("secret_file", tests, NULL, NULL);
}
