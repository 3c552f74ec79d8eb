/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * maintenance.h
 *		What has to be done now and then: partitions, journals, retention.
 */
#ifndef SN_MAINTENANCE_H
#define SN_MAINTENANCE_H

#include "postgres.h"

/*
 * A step of maintenance does a bounded piece of work in the caller's
 * transaction, and returns whether it has more to do in another one.  An error
 * of it is its own: the other steps are done all the same.
 */
typedef struct SnStep
{
	const char *name;			/* as stat_info shows it when it fails */
	bool		(*run) (void);
} SnStep;

#define SN_MAX_STEPS 16

extern const SnStep sn_maintenance_steps[];
extern const int sn_maintenance_nsteps;

/* come_back.c */
extern bool sn_tracks_step(void);
extern bool sn_tracks_relieve(void);

/* retention.c */
extern bool sn_retention_step(void);
extern bool sn_keep_step(void);

#endif							/* SN_MAINTENANCE_H */
