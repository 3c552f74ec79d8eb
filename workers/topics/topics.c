/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * topics.c
 *	  sentinai-topics: the topics that tenants' events go to, and rights on them.
 *
 * It prints what there is to do, as commands of Kafka's own tools, and does it
 * with --apply.  Template, partitions and replicas are those of the server.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <libpq-fe.h>

#include "admin.h"
#include "names.h"
#include "relay/topic_slug.h"
#include "tool.h"
#include "value.h"

#define PROGRAM "sentinai-topics"
#define EXIT_FAILED 1			/* something could not be found out or done */
#define LIST_MAX 100000
#define COMMON_TOPICS 2			/* for control events and refused ones */

typedef struct List
{
	const char **all;
	int			count;
} List;

typedef struct Options
{
	List		tenants;
	List		aggregate_types;
	List		event_types;
	List		properties;		/* of librdkafka */
	const char *seen;			/* seconds, as text; or NULL */
	const char *principal;
	const char *relay;			/* its principal, or NULL */
	bool		has_broker;
	bool		apply;
	const char *command;
} Options;

/* What the server is set to */
typedef struct Settings
{
	char		topic_template[SN_RECORD_MAX_TEMPLATE + 1];
	int			partitions;
	int			replication;
	char		common[COMMON_TOPICS][SN_RECORD_MAX_TOPIC + 1];	/* of all
																 * tenants, or
																 * empty */
} Settings;

enum
{
	OPT_AGGREGATE = 256, OPT_EVENT, OPT_SEEN, OPT_PRINCIPAL, OPT_RELAY,
	OPT_TENANTS, OPT_APPLY
};

static const struct option long_options[] = {
	TOOL_OPTIONS,
	{"tenant", required_argument, NULL, 't'},
	{"tenants", required_argument, NULL, OPT_TENANTS},
	{"aggregate-type", required_argument, NULL, OPT_AGGREGATE},
	{"event-type", required_argument, NULL, OPT_EVENT},
	{"seen", required_argument, NULL, OPT_SEEN},
	{"broker", required_argument, NULL, 'b'},
	{"property", required_argument, NULL, 'X'},
	{"principal", required_argument, NULL, OPT_PRINCIPAL},
	{"relay", required_argument, NULL, OPT_RELAY},
	{"apply", no_argument, NULL, OPT_APPLY},
	{NULL, 0, NULL, 0}
};

static const char usage[] =
"Usage: " PROGRAM " [OPTION]... plan | create | acls\n"
"Shows or makes the topics of tenants, and the rights on them.\n\n"
"  -t, --tenant=TENANT     a tenant; may be given again\n"
"      --tenants=FILE      tenants, one a line; \"-\" is standard input\n"
"      --aggregate-type=TYPE  an aggregate type of theirs; may be given again\n"
"      --event-type=TYPE   an event type of theirs; may be given again\n"
"      --seen=TIME         also what events of this time have, as \"7d\"\n"
"  -b, --broker=ADDRESS    broker to look at, or to apply it to: host:port\n"
"  -X, --property=PROPERTY  name=value of librdkafka, for the broker\n"
"      --principal=NAME    who reads a tenant's topics (default User:{tenant})\n"
"      --relay=NAME        principal of the relay, which writes and creates them\n"
"      --apply             do it; without this it is only printed\n"
TOOL_USAGE;

static Tool tool = {.program = PROGRAM, .usage = usage};

/* Adds to a list; NULL is a copy that there was no memory for. */
static void
list_add(List *list, const char *value)
{
	const char **all = realloc(list->all, ((size_t) list->count + 1) *
							   sizeof(char *));

	if (all == NULL || value == NULL || list->count >= LIST_MAX)
	{
		fprintf(stderr, PROGRAM ": too many of them\n");
		exit(EX_OSERR);
	}
	list->all = all;
	list->all[list->count++] = value;
}

/* Adds the lines of a file. */
static void
list_add_file(List *list, const char *path)
{
	FILE	   *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
	char	   *line = NULL;
	size_t		room = 0;
	ssize_t		length;

	if (file == NULL)
		tool_refuse(&tool, strerror(errno), path);
	while ((length = getline(&line, &room, file)) > 0)
	{
		if (line[length - 1] == '\n')
			line[--length] = '\0';
		if (length > 0)
			list_add(list, strdup(line));
	}
	free(line);
	if (file != stdin)
		fclose(file);
}

/* A property of the broker's client. */
static void
add_property(Options *options, const char *name, const char *value)
{
	size_t		size = strlen(name) + strlen(value) + 1;
	char	   *property = malloc(size);

	if (property == NULL)
		exit(EX_OSERR);
	snprintf(property, size, "%s%s", name, value);
	list_add(&options->properties, property);
}

/* Seconds of a time, as text. */
static const char *
seconds_of(const char *value)
{
	static char text[32];
	int			ms;

	if (!value_parse_duration(value, &ms) || ms < 1000)
		tool_refuse(&tool, "not a time", value);
	snprintf(text, sizeof(text), "%d", ms / 1000);
	return text;
}

/* Reads an option of its own. */
static void
take_option(Options *options, int letter)
{
	switch (letter)
	{
		case 't':
			list_add(&options->tenants, optarg);
			break;
		case OPT_TENANTS:
			list_add_file(&options->tenants, optarg);
			break;
		case OPT_AGGREGATE:
			list_add(&options->aggregate_types, optarg);
			break;
		case OPT_EVENT:
			list_add(&options->event_types, optarg);
			break;
		case OPT_SEEN:
			options->seen = seconds_of(optarg);
			break;
		case 'b':
			add_property(options, "bootstrap.servers=", optarg);
			options->has_broker = true;
			break;
		case 'X':
			add_property(options, "", optarg);
			break;
		case OPT_PRINCIPAL:
			options->principal = optarg;
			break;
		case OPT_RELAY:
			options->relay = optarg;
			break;
		case OPT_APPLY:
			options->apply = true;
			break;
	}
}

/* Reads the arguments. */
static void
read_options(Options *options, int argc, char **argv)
{
	int			letter;

	while ((letter = getopt_long(argc, argv, TOOL_LETTERS "t:b:X:", long_options,
								 NULL)) != -1)
	{
		if (!tool_option(&tool, argv, letter))
			take_option(options, letter);
	}
	if (optind + 1 != argc)
		tool_refuse(&tool, "one of plan, create and acls is needed", NULL);
	options->command = argv[optind];
	if (strcmp(options->command, "plan") != 0 &&
		strcmp(options->command, "create") != 0 &&
		strcmp(options->command, "acls") != 0)
		tool_refuse(&tool, "no such command", options->command);
	if (options->apply && !options->has_broker)
		tool_refuse(&tool, "--apply needs --broker", NULL);
	if (options->tenants.count == 0 && options->seen == NULL)
		tool_refuse(&tool, "--tenant, --tenants or --seen is needed", NULL);
}

/* Runs a query; NULL, and says why, when it failed. */
static PGresult *
ask(PGconn *conn, const char *query, const char *parameter)
{
	PGresult   *result = PQexecParams(conn, query, parameter == NULL ? 0 : 1,
									  NULL, &parameter, NULL, NULL, 0);

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	fprintf(stderr, PROGRAM ": %s", PQerrorMessage(conn));
	PQclear(result);
	return NULL;
}

/* What the relay of the server goes by. */
static bool
read_settings(PGconn *conn, Settings *settings)
{
	PGresult   *result = ask(conn,
							 "select coalesce(nullif(current_setting('sentinai.topic_template'), ''),"
							 " case current_setting('sentinai.record_format') when 'debezium'"
							 " then '" SN_RECORD_TOPIC_DEBEZIUM "' else '" SN_RECORD_TOPIC "' end),"
							 " current_setting('sentinai.topic_partitions'),"
							 " current_setting('sentinai.topic_replication'),"
							 " current_setting('sentinai.control_topic'),"
							 " current_setting('sentinai.dead_letter_topic')", NULL);
	int			i;

	if (result == NULL)
		return false;
	snprintf(settings->topic_template, sizeof(settings->topic_template), "%s",
			 PQgetvalue(result, 0, 0));
	settings->partitions = atoi(PQgetvalue(result, 0, 1));
	settings->replication = atoi(PQgetvalue(result, 0, 2));
	for (i = 0; i < COMMON_TOPICS; i++)
		snprintf(settings->common[i], sizeof(settings->common[i]), "%s",
				 PQgetvalue(result, 0, 3 + i));
	PQclear(result);
	return true;
}

/* Adds a name, or says why there is none. */
static bool
add_name(Names *names, const Settings *settings, const char *tenant,
		 const char *aggregate_type, const char *event_type)
{
	char		err[256];

	if (names_add(names, settings->topic_template, tenant, aggregate_type,
				  event_type, err, sizeof(err)))
		return true;
	fprintf(stderr, PROGRAM ": %s: %s\n", tenant, err);
	return false;
}

/* The types to go through: those of a list, or one that nobody asks for. */
static const char *
type_at(const Settings *settings, const char *placeholder, const List *list,
		int i)
{
	if (!template_has(settings->topic_template, placeholder))
		return i == 0 ? "-" : NULL;
	return i < list->count ? list->all[i] : NULL;
}

/* The topics of the tenants that were named. */
static bool
add_named(const Options *options, const Settings *settings, Names *names)
{
	bool		good = true;
	int			t;

	for (t = 0; t < options->tenants.count; t++)
	{
		const char *aggregate;
		int			a;

		for (a = 0; (aggregate = type_at(settings, "{aggregate_type}",
										 &options->aggregate_types, a)) != NULL; a++)
		{
			const char *event;
			int			e;

			for (e = 0; (event = type_at(settings, "{event_type}",
										 &options->event_types, e)) != NULL; e++)
				good = add_name(names, settings, options->tenants.all[t],
								aggregate, event) && good;
		}
	}
	return good;
}

/*
 * The topics of events of the last time, and their tenants.  One whose type
 * makes no topic is said and left out (good is false then): whoever publishes
 * it must not keep the others from theirs.
 */
static bool
add_seen(Options *options, const Settings *settings, PGconn *conn,
		 Names *names, bool *good)
{
	PGresult   *result;
	int			i;

	if (options->seen == NULL)
		return true;
	result = ask(conn,
				 "select distinct tenant_id, aggregate_type, event_type"
				 " from sentinai.event_log where occurred_at >= now() - $1::int * interval '1s'"
				 " and event_type not in (select event_type from sentinai.event_types where registered_by = 'sentinai')"
				 " order by 1, 2, 3", options->seen);
	if (result == NULL)
		return false;
	for (i = 0; i < PQntuples(result); i++)
	{
		const char *tenant = PQgetvalue(result, i, 0);

		*good = add_name(names, settings, tenant, PQgetvalue(result, i, 1),
						 PQgetvalue(result, i, 2)) && *good;
		if (i == 0 || strcmp(tenant, PQgetvalue(result, i - 1, 0)) != 0)
			list_add(&options->tenants, strdup(tenant));
	}
	PQclear(result);
	return true;
}

/* Prints a plan: topic, tenant, partitions and whether it is there. */
static bool
plan(const Settings *settings, const Names *names, Admin *admin)
{
	char		err[ADMIN_ERROR] = "";
	bool		good = true;
	int			i;

	for (i = 0; i < names->count; i++)
	{
		const Name *name = &names->all[i];
		int			partitions = admin == NULL ? 0 :
			admin_has_topic(admin, name->topic, err);

		printf("%s\t%s\t%d\t%s\n", name->topic,
			   name->tenant == NULL ? "*" : name->tenant,
			   partitions > 0 ? partitions : settings->partitions,
			   admin == NULL ? "?" : partitions < 0 ? err :
			   partitions > 0 ? "exists" : "missing");
		good = good && partitions >= 0;
	}
	return good;
}

/* Creates the topics, or prints how. */
static bool
create(const Options *options, const Settings *settings, const Names *names,
	   Admin *admin)
{
	int			partitions = settings->partitions > 0 ? settings->partitions : -1;
	char		err[ADMIN_ERROR];
	bool		good = true;
	int			i;

	for (i = 0; i < names->count; i++)
	{
		const char *topic = names->all[i].topic;
		int			done;

		if (!options->apply)
		{
			printf("kafka-topics.sh --bootstrap-server \"$BROKER\" --create --if-not-exists --topic %s",
				   topic);
			if (partitions > 0)
				printf(" --partitions %d", partitions);
			if (settings->replication > 0)
				printf(" --replication-factor %d", settings->replication);
			putchar('\n');
			continue;
		}
		done = admin_create_topic(admin, topic, partitions,
								  settings->replication, err);
		if (done < 0)
			fprintf(stderr, PROGRAM ": %s: %s\n", topic, err);
		else
			printf("%s\t%s\n", topic, done > 0 ? "created" : "exists");
		good = good && done >= 0;
	}
	return good;
}

/* Grants a right, or prints how. */
static bool
grant(const Options *options, Admin *admin, const Right *right)
{
	char		err[ADMIN_ERROR];

	if (!options->apply)
	{
		printf("kafka-acls.sh --bootstrap-server \"$BROKER\" --add --allow-principal '%s' --operation %s --%s %s%s\n",
			   right->principal, right->operation, right->resource, right->name,
			   right->prefixed ? " --resource-pattern-type prefixed" : "");
		return true;
	}
	if (!admin_grant(admin, right, err))
	{
		fprintf(stderr, PROGRAM ": %s: %s\n", right->name, err);
		return false;
	}
	printf("%s\t%s\t%s\t%s%s\n", right->principal, right->operation,
		   right->resource, right->name, right->prefixed ? "*" : "");
	return true;
}

/* Grants several operations on one name. */
static bool
grant_all(const Options *options, Admin *admin, Right right,
		  const char *const *operations)
{
	bool		good = true;

	for (; *operations != NULL; operations++)
	{
		right.operation = *operations;
		good = grant(options, admin, &right) && good;
	}
	return good;
}

/* Who reads the topics of a tenant. */
static void
principal_of(const Options *options, const char *tenant, char *principal,
			 size_t size)
{
	const char *place = strstr(options->principal, "{tenant}");
	char		slug[SN_TOPIC_SLUG_MAX + 1];

	sn_topic_slug(tenant, slug);
	if (place == NULL)
		snprintf(principal, size, "%s", options->principal);
	else
		snprintf(principal, size, "%.*s%s%s", (int) (place - options->principal),
				 options->principal, slug, place + strlen("{tenant}"));
}

/* Rights of a tenant's readers: on its prefix, or on each of its topics. */
static bool
grant_tenant(const Options *options, const Settings *settings,
			 const Names *names, Admin *admin, const char *tenant)
{
	static const char *const reads[] = {"Read", "Describe", NULL};
	static const char *const groups[] = {"Read", NULL};
	char		principal[512];
	char		prefix[SN_RECORD_MAX_TEMPLATE + SN_TOPIC_SLUG_MAX + 2];
	char		group[SN_TOPIC_SLUG_MAX + 2];
	Right		right = {.principal = principal, .resource = "topic"};
	bool		good = true;
	int			i;

	principal_of(options, tenant, principal, sizeof(principal));
	right.prefixed = template_prefix(settings->topic_template, tenant, prefix,
									 sizeof(prefix));
	right.name = prefix;
	if (right.prefixed)
		good = grant_all(options, admin, right, reads);
	for (i = 0; i < names->count && !right.prefixed; i++)
		if (names->all[i].tenant != NULL &&
			strcmp(names->all[i].tenant, tenant) == 0)
		{
			right.name = names->all[i].topic;
			good = grant_all(options, admin, right, reads) && good;
		}
	sn_topic_slug(tenant, group);
	strcat(group, ".");
	right.resource = "group";
	right.name = group;
	right.prefixed = true;
	return grant_all(options, admin, right, groups) && good;
}

/* Rights of the relay: on all that begins as the template does, or on each. */
static bool
grant_relay(const Options *options, const Settings *settings,
			const Names *names, Admin *admin)
{
	static const char *const writes[] = {"Write", "Describe", "Create", NULL};
	char		head[SN_RECORD_MAX_TEMPLATE + 1];
	Right		right = {.principal = options->relay, .resource = "topic"};
	bool		good = true;
	int			i;

	template_head(settings->topic_template, head, sizeof(head));
	right.name = head;
	right.prefixed = *head != '\0';
	if (right.prefixed)
		return grant_all(options, admin, right, writes);
	for (i = 0; i < names->count; i++)
	{
		right.name = names->all[i].topic;
		good = grant_all(options, admin, right, writes) && good;
	}
	return good;
}

/* Rights of all. */
static bool
acls(const Options *options, const Settings *settings, const Names *names,
	 Admin *admin)
{
	bool		good = true;
	int			i;

	if (!template_has(settings->topic_template, "{tenant}"))
	{
		fprintf(stderr, PROGRAM ": topics of the template \"%s\" are not of one tenant each: give sentinai.topic_template a {tenant}\n",
				settings->topic_template);
		return false;
	}
	if (options->relay != NULL)
		good = grant_relay(options, settings, names, admin);
	for (i = 0; i < options->tenants.count; i++)
		good = grant_tenant(options, settings, names, admin,
							options->tenants.all[i]) && good;
	return good;
}

/* Does what is asked for, with a broker or without. */
static bool
run(const Options *options, const Settings *settings, const Names *names)
{
	char		err[ADMIN_ERROR] = "";
	Admin	   *admin = NULL;
	bool		good;

	if (options->has_broker)
	{
		admin = admin_open(options->properties.all, options->properties.count,
						   err);
		if (admin == NULL)
		{
			fprintf(stderr, PROGRAM ": %s\n", err);
			return false;
		}
	}
	if (strcmp(options->command, "plan") == 0)
		good = plan(settings, names, admin);
	else if (strcmp(options->command, "create") == 0)
		good = create(options, settings, names, admin);
	else
		good = acls(options, settings, names, admin);
	admin_close(admin);
	return good;
}

/* Each topic once, or says which would be two tenants'. */
static bool
sort_names(Names *names)
{
	char		err[1024];

	if (names_sort(names, err, sizeof(err)))
		return true;
	fprintf(stderr, PROGRAM ": %s; put {tenant} first, with a '.' behind it\n",
			err);
	return false;
}

/* Are the topics of all tenants apart from what one of them may read? */
static bool
common_are_apart(const Options *options, const Settings *settings,
				 const Names *names)
{
	int			c;
	int			t;

	for (c = 0; c < COMMON_TOPICS; c++)
		for (t = 0; t < options->tenants.count; t++)
			if (names_cover(names, settings->topic_template,
							options->tenants.all[t], settings->common[c]))
			{
				fprintf(stderr, PROGRAM ": %s, which has records of all tenants, would be a topic of %s; give it a name that the template cannot make\n",
						settings->common[c], options->tenants.all[t]);
				return false;
			}
	return true;
}

int
main(int argc, char **argv)
{
	Options		options = {.principal = "User:{tenant}"};
	Settings	settings;
	Names		names = {0};
	PGconn	   *conn;
	bool		known;
	bool		good = true;

	read_options(&options, argc, argv);
	conn = tool_connect(&tool);
	if (PQstatus(conn) != CONNECTION_OK)
	{
		fprintf(stderr, PROGRAM ": %s", PQerrorMessage(conn));
		PQfinish(conn);
		return EXIT_FAILED;
	}
	known = read_settings(conn, &settings) &&
		add_named(&options, &settings, &names) &&
		add_seen(&options, &settings, conn, &names, &good);
	PQfinish(conn);
	good = known && sort_names(&names) &&
		common_are_apart(&options, &settings, &names) &&
		run(&options, &settings, &names) && good;
	names_free(&names);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	return good ? EX_OK : EXIT_FAILED;
}
