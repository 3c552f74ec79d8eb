/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * guc.h
 *		Every setting of the extension; docs/configuration.md lists them.
 */
#ifndef SN_GUC_H
#define SN_GUC_H

#include "postgres.h"

typedef enum SnBrokerKind
{
	SN_BROKER_NONE,
	SN_BROKER_KAFKA,
	SN_BROKER_KINDS				/* not one */
} SnBrokerKind;

typedef enum SnRelayStart
{
	SN_RELAY_EARLIEST,
	SN_RELAY_LATEST
} SnRelayStart;

typedef enum SnRecordTime
{
	SN_TIME_SENDING,
	SN_TIME_OCCURRED
} SnRecordTime;

/* publish */
extern int	sn_idempotency_window;	/* s */
extern int	sn_max_payload;			/* kB */
extern int	sn_max_batch;			/* events */
extern int	sn_long_run;			/* events; 0: no run is long */

/* storage */
extern int	sn_lanes;				/* read at first use of a database */
extern int	sn_partition_interval;	/* min */
extern int	sn_partitions_ahead;
extern int	sn_retention;			/* min; -1 keeps everything */
extern int	sn_dead_letter_retention;	/* min; -1 keeps everything */
extern int	sn_journal_size;		/* kB */

/* workers */
extern int	sn_launcher_naptime;	/* s */
extern int	sn_maintenance_interval;	/* s */
extern int	sn_sequencer_naptime;	/* ms */
extern int	sn_round_interval;		/* ms */
extern int	sn_sort_memory;			/* kB */

/* relay */
extern int	sn_relay_workers;
extern int	sn_relay_start;			/* SnRelayStart */
extern int	sn_relay_inflight;		/* events */
extern int	sn_relay_buffer;		/* kB */
extern int	sn_broker;				/* SnBrokerKind */
extern char *sn_kafka_conf;
extern char *sn_secret_directory;
extern char *sn_topic_template;
extern char *sn_control_topic;
extern int	sn_topic_partitions;
extern int	sn_topic_replication;
extern int	sn_topic_timeout;		/* s; -1: events wait for ever */
extern int	sn_record_format;		/* SnRecordFormat */
extern int	sn_record_timestamp;	/* SnRecordTime */
extern int	sn_breaker_failures;
extern int	sn_breaker_open_time;	/* s */
extern int	sn_sync_grace;			/* s */

extern void sn_guc_init(void);

#endif							/* SN_GUC_H */
