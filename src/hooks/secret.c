/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * secret.c
 *		A secret in a command that configures a broker: the error does not
 *		bring the command into the server's log.
 *
 * Such a value is refused by the setting itself, but the server logs the
 * statement of every error.  What is logged of a command before it runs
 * (log_statement), and what a client keeps of it, nobody can take back.
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "utils/guc.h"

#include "hooks/utility.h"
#include "relay/relay_provider.h"

/* setting_of: what a command sets, for now or for later; or NULL */
static VariableSetStmt *
setting_of(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterSystemStmt:
			return ((AlterSystemStmt *) stmt)->setstmt;
		case T_VariableSetStmt:
			return (VariableSetStmt *) stmt;
		case T_AlterDatabaseSetStmt:
			return ((AlterDatabaseSetStmt *) stmt)->setstmt;
		case T_AlterRoleSetStmt:
			return ((AlterRoleSetStmt *) stmt)->setstmt;
		default:
			return NULL;
	}
}

/* sn_guard_secret: refuse a provider's setting that cannot be used, without a trace */
void
sn_guard_secret(Node *stmt)
{
	VariableSetStmt *setting = setting_of(stmt);
	char	   *value;
	char		err[256];
	int			i;

	if (setting == NULL || setting->kind != VAR_SET_VALUE)
		return;
	for (i = 0; i < SN_BROKER_KINDS; i++)
	{
		const SnProvider *provider = &sn_providers[i];

		if (provider->settings == NULL ||
			pg_strcasecmp(setting->name, provider->setting) != 0)
			continue;
		value = ExtractSetVariableArgs(setting);
		if (value != NULL && !provider->settings->check(value, err, sizeof(err)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for parameter \"%s\"",
							provider->setting),
					 errdetail("The value cannot be used: %s.", err),
					 errhidestmt(true)));
	}
}
