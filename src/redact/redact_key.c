/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_key.c
 *		The key of hashes, and hashing with it.
 *
 * The key is in a file that sentinai.redaction_key_file names, under the rules
 * of broker/secret_file.c.  A session reads it when it hashes for the first
 * time, and again after the server has read its configuration anew.  A session
 * that cannot read it publishes nothing that has to be hashed.
 *
 * What is hashed begins with the tenant, so that two tenants who know the same
 * person do not learn it from each other's events.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/sha256.h"
#include "broker/secret_file.h"
#include "redact/redact_walk.h"

#define KEY_MIN 32				/* bytes */
#define KEY_MAX 1024

static SnHmacKey key;
static bool key_there = false;
static TimestampTz key_read = 0;	/* as of this reading of the configuration */

/* refuse_key: why is for the server's log, as it names files */
static void pg_attribute_noreturn()
refuse_key(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("could not read the key that values are hashed with"),
			 errdetail_log("%s.", why),
			 errhint("sentinai.redaction_key_file names its file. Nothing was stored.")));
	pg_unreachable();
}

/* read_key: the key of this reading of the configuration */
static void
read_key(void)
{
	char		err[1024] = "sentinai.redaction_key_file is not set";
	char	   *secret = NULL;
	size_t		len;

	key_there = false;
	if (*sn_redaction_key_file != '\0')
		secret = sn_secret_read(sn_secret_directory,
								"sentinai.redaction_key_file",
								sn_redaction_key_file, err, sizeof(err));
	if (secret == NULL)
		refuse_key(err);
	len = strlen(secret);
	key_there = len >= KEY_MIN && len <= KEY_MAX;
	if (key_there)
		sn_hmac_key(&key, secret, len);
	sn_secret_forget(secret);
	if (!key_there)
		refuse_key("The file must hold 32 to 1024 bytes of text");
	key_read = PgReloadTime;
}

/* digit: reckoned, so that the compiler makes many at once */
static inline char
digit(unsigned char value)
{
	return (char) (value + (value > 9 ? 'a' - 10 : '0'));
}

/*
 * sn_redact_hash: the keyed hash of a value of a tenant, as 64 digits: of the
 * tenant's name, a zero byte and the value
 */
void
sn_redact_hash(const text *tenant_id, const char *value, Size len, char *hex)
{
	unsigned char result[SN_SHA256_LEN];
	SnSha256	sha;
	int			i;

	if (!key_there || key_read != PgReloadTime)
		read_key();
	sha = key.inner;
	sn_sha256_add(&sha, VARDATA_ANY(tenant_id), VARSIZE_ANY_EXHDR(tenant_id));
	sn_sha256_add(&sha, "", 1);
	sn_sha256_add(&sha, value, len);
	sn_hmac_end(&key, &sha, result);
	for (i = 0; i < SN_SHA256_LEN; i++)
	{
		hex[2 * i] = digit(result[i] >> 4);
		hex[2 * i + 1] = digit(result[i] & 0xf);
	}
}
