/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * secret.c
 *		A secret in a command that sets kafka_conf: the error does not bring
 *		the command into the server's log.
 *
 * Such a value is refused by the setting itself, but the server logs the
 * statement of every error.  What is logged of a command before it runs
 * (log_statement), and what a client keeps of it, nobody can take back.
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "utils/guc.h"

#include "broker/kafka_conf.h"
#include "hooks/utility.h"

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

/* sn_guard_secret: refuse a kafka_conf that cannot be used, without a trace */
void
sn_guard_secret(Node *stmt)
{
	VariableSetStmt *setting = setting_of(stmt);
	SnKafkaConf *conf;
	char	   *value;
	char		err[256];

	if (setting == NULL || setting->kind != VAR_SET_VALUE ||
		pg_strcasecmp(setting->name, "sentinai.kafka_conf") != 0)
		return;
	value = ExtractSetVariableArgs(setting);
	conf = value == NULL ? NULL : sn_kafka_conf_parse(value, err, sizeof(err));
	sn_kafka_conf_free(conf);
	if (value != NULL && conf == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for parameter \"%s\"",
						"sentinai.kafka_conf"),
				 errdetail("The value cannot be used: %s.", err),
				 errhidestmt(true)));
}
