/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_group.h
 *	  A thread as member of a consumer group.
 */
#ifndef SENTINAI_KAFKA_GROUP_H
#define SENTINAI_KAFKA_GROUP_H

#include "kafka_client.h"
#include "kafka_part.h"
#include "worker.h"

typedef struct Group
{
	Worker	   *worker;
	rd_kafka_t *consumer;
	Parts		held;
	bool		is_busy;		/* with records that must not go away */
	rd_kafka_topic_partition_list_t *leaving;	/* asked for meanwhile, or NULL */
	bool		is_over;		/* the thread has to end */
	bool		no_brokers;
	long long	check_brokers_at;
	long long	say_again;
} Group;

extern const KafkaCalls group_calls;

extern void group_say(Group *group, const char *message, const char *error);
extern void group_note_unreadable(Group *group, const Part *part,
								  long long offset);
extern bool group_take(Group *group, long long wait);
extern void group_pause(Group *group);
extern void group_commit(Group *group, bool wait);
extern void group_begin_work(Group *group);
extern void group_end_work(Group *group);
extern void group_check_brokers(Group *group);
extern bool group_is_member(const Group *group);
extern void group_leave(Group *group);

#endif							/* SENTINAI_KAFKA_GROUP_H */
