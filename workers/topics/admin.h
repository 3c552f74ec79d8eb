/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * admin.h
 *	  What a broker is asked to do about topics and rights.
 */
#ifndef SN_TOPIC_ADMIN_H
#define SN_TOPIC_ADMIN_H

#include <stdbool.h>
#include <stddef.h>

#define ADMIN_ERROR 512

typedef struct Admin Admin;

/* A right to grant */
typedef struct Right
{
	const char *principal;
	const char *resource;		/* "topic" or "group" */
	const char *name;
	bool		prefixed;
	const char *operation;		/* "Read", "Write", "Describe" or "Create" */
} Right;

extern Admin *admin_open(const char *const *properties, int count, char *err);
extern int	admin_has_topic(Admin *admin, const char *topic, char *err);
extern int	admin_create_topic(Admin *admin, const char *topic, int partitions,
							   int replication, char *err);
extern bool admin_grant(Admin *admin, const Right *right, char *err);
extern void admin_close(Admin *admin);

#endif							/* SN_TOPIC_ADMIN_H */
