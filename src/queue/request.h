/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * request.h
 *		What a subscription shall be: checked arguments.
 */
#ifndef SN_REQUEST_H
#define SN_REQUEST_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"

#include "queue/subscription.h"

/* Where a subscription begins */
typedef enum SnStartFrom
{
	SN_START_LATEST,
	SN_START_EARLIEST,
	SN_START_TIME
} SnStartFrom;

/* What subscribe() or alter_subscription() was asked for */
typedef struct SnRequest
{
	text	   *worker_type;
	bool		is_relay;
	bool		keeps_types;	/* the filter says nothing about types */
	bool		keeps_tenants;
	SnFilter	filter;
	SnStartFrom start_from;
	TimestampTz start_time;
	int			max_attempts;
	ArrayType  *backoff;
	text	   *on_dead;
	bool		block;			/* on_dead */
	bool		ordered;
	Interval   *max_lease;
	int			max_lanes;
} SnRequest;

extern void sn_request_names(FunctionCallInfo fcinfo, int argno,
							 const char *name,
							 text *(*check) (Datum, const char *),
							 SnNames *names);
extern void sn_request_start(const text *value, SnRequest *request);
extern void sn_request_subscribe(FunctionCallInfo fcinfo, SnRequest *request);
extern void sn_request_alter(FunctionCallInfo fcinfo, const Datum *row,
							 SnRequest *request);
extern void sn_request_note_start(const SnRequest *request, const SnSub *sub);
extern char *sn_request_changes(const SnRequest *request, const SnSub *sub,
								const Datum *row);
extern void sn_request_note_changes(const SnRequest *request,
									const char *changes);
extern char *sn_lease_text(Datum max_lease);

extern void sn_check_policy(int max_attempts, ArrayType *backoff);

/* subscribe.c */
extern int	sn_sub_make_relay(SnRequest *request);

/* retry_policy.c */
extern Jsonb *sn_policies_delete(const text *worker_type,
								 const text *event_type, Snapshot snapshot);

#endif							/* SN_REQUEST_H */
