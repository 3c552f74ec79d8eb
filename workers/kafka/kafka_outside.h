/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * kafka_outside.h
 *	  What records need done outside of the database.
 */
#ifndef SENTINAI_KAFKA_OUTSIDE_H
#define SENTINAI_KAFKA_OUTSIDE_H

#include "kafka_group.h"

extern PgStatus outside_work(Group *group);

#endif							/* SENTINAI_KAFKA_OUTSIDE_H */
