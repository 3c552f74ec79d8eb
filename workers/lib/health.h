/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * health.h
 *	  What an agent answers over HTTP: is it alive, is it ready, its metrics.
 */
#ifndef SENTINAI_HEALTH_H
#define SENTINAI_HEALTH_H

#include "text.h"
#include "worker.h"

/* What the answers are about. */
typedef struct Health
{
	Agent	   *agent;
	Worker	   *workers;
	int			count;
	long long	started;		/* seconds since 1970 */
} Health;

extern int	health_answer(void *arg, const char *path, Text *body);

#endif							/* SENTINAI_HEALTH_H */
