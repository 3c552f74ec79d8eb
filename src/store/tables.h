/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * tables.h
 *		Tables, their columns and their indexes, as the modules
 *		sql/2N_tables_SUBJECT.sql make them.
 *
 * The numbers that C knows them by (SN_EVENT_LOG, Anum_log_event_id, Natts_log)
 * and the names that are looked up come from these lists.  Columns stand in
 * the order of the table: C(table, column), or AS(table, name in C, column).
 * Scans count the columns of an index from 1, as its list has them; expressions
 * have the names that the server gives them.  Builds with assertions compare all
 * of it with the catalogue.
 */
#ifndef SN_TABLES_H
#define SN_TABLES_H

#define SN_COLUMNS_log(C, AS) \
	C(log, event_id) C(log, txid) C(log, occurred_at) \
	C(log, partition_hash) C(log, schema_version) C(log, run) \
	C(log, event_type) C(log, tenant_id) C(log, aggregate_type) \
	C(log, aggregate_id) C(log, payload) C(log, metadata) \
	C(log, correlation_id) C(log, causation_id) C(log, deliver_at) \
	C(log, run_keys)

#define SN_COLUMNS_proc(C, AS) \
	C(proc, event_id) C(proc, worker_type) C(proc, tenant_id) \
	C(proc, aggregate_id) C(proc, status) C(proc, attempt) \
	C(proc, worker_id) C(proc, processed_at)

#define SN_COLUMNS_idem(C, AS) \
	C(idem, event_id) C(idem, body_hash) C(idem, tenant_id) \
	AS(idem, key, idempotency_key)

#define SN_COLUMNS_slice(C, AS) \
	AS(slice, no, slice_no) C(slice, events_before) C(slice, stream_id) \
	C(slice, lane) C(slice, event_ids) C(slice, row_tids)

#define SN_COLUMNS_node(C, AS) \
	AS(node, no, node_no) C(node, system_identifier) \
	C(node, database_oid) C(node, lanes) C(node, txid_offset) \
	C(node, activated_at) C(node, recovery)

#define SN_COLUMNS_control(C, AS) \
	C(control, only_row) C(control, paused) C(control, node_no) \
	C(control, recovery) C(control, changed_at) C(control, changed_by)

#define SN_COLUMNS_relay(C, AS) \
	AS(relay, id, sub_id) C(relay, broker) C(relay, settings) \
	C(relay, topic_template) C(relay, record_format) C(relay, record_options) \
	C(relay, transform_owner) C(relay, limits) C(relay, workers) C(relay, paused) C(relay, node_no) C(relay, recovery) \
	C(relay, changed_at) C(relay, changed_by)

#define SN_COLUMNS_stream(C, AS) \
	AS(stream, id, stream_id) C(stream, event_types) \
	C(stream, first_round) C(stream, tenants) C(stream, aggregate_types)

#define SN_COLUMNS_sub(C, AS) \
	AS(sub, id, sub_id) C(sub, worker_type) C(sub, stream_id) \
	C(sub, start_pos) C(sub, start_time) C(sub, start_xmax) \
	C(sub, start_xip) C(sub, max_attempts) C(sub, backoff) \
	C(sub, on_dead) C(sub, ordered) C(sub, is_relay) C(sub, created_at) \
	C(sub, old_streams) C(sub, old_until) C(sub, tracks_from) \
	C(sub, max_lease) C(sub, max_lanes) C(sub, in_line_until)

#define SN_COLUMNS_track(C, AS) \
	AS(track, no, track) C(track, first_round) C(track, last_round)

#define SN_COLUMNS_on(C, AS) \
	C(on, tenant_id) C(on, track) C(on, since_round)

#define SN_COLUMNS_round(C, AS) \
	AS(round, no, round_no) C(round, snap_xmax) C(round, snap_xip) \
	C(round, due_until) C(round, events) C(round, taken_at)

#define SN_COLUMNS_lane(C, AS) \
	C(lane, sub_id) C(lane, lane) C(lane, ver) C(lane, pos) \
	C(lane, end_pos) C(lane, batch) C(lane, done_batch) \
	C(lane, lease_until) C(lane, claimed_at) C(lane, lost_pos) \
	C(lane, lost) C(lane, open) C(lane, parked) C(lane, completed) \
	C(lane, failed) C(lane, dead) C(lane, worker_id) C(lane, resolved) \
	C(lane, retries) C(lane, common_pos)

#define SN_COLUMNS_retry(C, AS) \
	C(retry, sub_id) C(retry, lane) C(retry, pos) C(retry, event_id) \
	C(retry, partition_hash) C(retry, attempt) C(retry, solo) \
	C(retry, dead) C(retry, due_at) C(retry, not_before) \
	C(retry, first_failed_at) C(retry, tenant_id) C(retry, aggregate_id) \
	C(retry, last_error) C(retry, history) C(retry, topic)

#define SN_COLUMNS_dead(C, AS) \
	C(dead, event_id) C(dead, worker_type) C(dead, tenant_id) \
	C(dead, aggregate_type) C(dead, aggregate_id) C(dead, event_type) \
	C(dead, schema_version) C(dead, correlation_id) C(dead, causation_id) \
	C(dead, occurred_at) C(dead, attempts) C(dead, reason) \
	C(dead, status) C(dead, first_failed_at) C(dead, dead_at) \
	C(dead, resolved_at) C(dead, resolved_by) C(dead, resolution) \
	C(dead, history) C(dead, payload) C(dead, metadata) C(dead, sub_id) \
	C(dead, pos)

#define SN_COLUMNS_replaced(C, AS) \
	C(replaced, worker_type) C(replaced, replaced_by) \
	C(replaced, event_id)

#define SN_COLUMNS_count(C, AS) \
	C(count, tenant_id) C(count, worker_type) C(count, event_type) \
	C(count, pending) C(count, retrying) C(count, succeeded) \
	C(count, discarded) C(count, folded)

#define SN_COLUMNS_alert(C, AS) \
	C(alert, alert) C(alert, tenant_id) C(alert, threshold) \
	AS(alert, within, window) C(alert, channels) C(alert, set_at) \
	C(alert, set_by) C(alert, raised_at) C(alert, raised_count)

#define SN_COLUMNS_policy(C, AS) \
	C(policy, worker_type) C(policy, event_type) C(policy, max_attempts) \
	C(policy, backoff)

#define SN_COLUMNS_type(C, AS) \
	C(type, event_type) C(type, version) C(type, direction) \
	C(type, description) C(type, schema) C(type, examples) \
	C(type, compatibility) C(type, registered_at) \
	C(type, registered_by) C(type, deprecated_since) \
	C(type, dropped_at)

#define SN_COLUMNS_grant(C, AS) \
	C(grant, role) C(grant, tenant_id) C(grant, right_name) \
	C(grant, granted_at) C(grant, granted_by)

#define SN_COLUMNS_work(C, AS) \
	C(work, worker_type) C(work, role) C(work, granted_at) \
	C(work, granted_by)

#define SN_COLUMNS_proof(C, AS) \
	C(proof, role) C(proof, granted_at) C(proof, granted_by)

#define SN_COLUMNS_action(C, AS) \
	AS(action, id, action_id) C(action, acted_at) C(action, actor) \
	C(action, session_role) C(action, acting_role) C(action, action) \
	C(action, tenant_id) C(action, object) C(action, before) \
	C(action, after) C(action, reason) C(action, kind) \
	C(action, worker_type) C(action, aggregate_id) C(action, clock_id)

#define SN_COLUMNS_limit(C, AS) \
	C(limit, tenant_id) C(limit, kind) C(limit, value) \
	C(limit, window) C(limit, enabled) C(limit, changed_at) \
	C(limit, changed_by)

#define SN_COLUMNS_weight(C, AS) \
	C(weight, tenant_id) C(weight, weight) C(weight, changed_at) \
	C(weight, changed_by)

#define SN_COLUMNS_pressure(C, AS) \
	C(pressure, worker_type) C(pressure, tenant_id) \
	C(pressure, max_backlog) C(pressure, policy) C(pressure, max_delay) \
	C(pressure, changed_at) C(pressure, changed_by) \
	C(pressure, over_since) C(pressure, event_types) \
	C(pressure, tenants) C(pressure, backlog)

#define SN_COLUMNS_interval(C, AS) \
	AS(interval, no, interval_no) C(interval, from_id) C(interval, to_id) \
	C(interval, events) C(interval, root) C(interval, chain) \
	C(interval, closed_at)

#define SN_COLUMNS_root(C, AS) \
	C(root, tenant_id) AS(root, no, root_no) C(root, interval_no) \
	C(root, events) C(root, root) C(root, chain)

#define SN_COLUMNS_dropped(C, AS) \
	C(dropped, from_id) C(dropped, to_id) AS(dropped, at, dropped_at)

#define SN_COLUMNS_redaction(C, AS) \
	C(redaction, tenant_id) C(redaction, event_type) C(redaction, path) \
	C(redaction, method) C(redaction, keep) C(redaction, replacement) \
	C(redaction, patterns) C(redaction, changed_at) \
	C(redaction, changed_by)

#define SN_COLUMNS_deadline(C, AS) \
	AS(deadline, id, deadline_id) C(deadline, tenant_id) \
	C(deadline, aggregate_type) C(deadline, aggregate_id) \
	C(deadline, kind) C(deadline, status) C(deadline, due_at) \
	C(deadline, warn_at) C(deadline, next_at) C(deadline, set_at) \
	C(deadline, set_by) C(deadline, moves) C(deadline, warned_at) \
	C(deadline, expired_at) C(deadline, ended_at) \
	C(deadline, correlation_id) C(deadline, causation_id)

#define SN_COLUMNS_sla(C, AS) \
	C(sla, tenant_id) C(sla, threshold) C(sla, changed_at) \
	C(sla, changed_by)

/*
 * Tables partitioned by event id come first (range.h); halves of a journal
 * follow each other (journal.c).  ALIKE: a table with the columns of another.
 */
#define SN_RELATIONS(TABLE, ALIKE, INDEX) \
	TABLE(EVENT_LOG, event_log, log) \
	TABLE(EVENT_PROCESSING, event_processing, proc) \
	TABLE(EVENT_IDEMPOTENCY, event_idempotency, idem) \
	TABLE(SLICE, slice, slice) \
	ALIKE(EVENT_KEPT, event_kept, log) \
	TABLE(NODE, node, node) \
	TABLE(RELAY_CONTROL, relay_control, control) \
	TABLE(RELAY, relay, relay) \
	TABLE(STREAM, stream, stream) \
	TABLE(TRACK, track, track) \
	TABLE(TRACK_TENANT, track_tenant, on) \
	TABLE(SUBSCRIPTION, subscription, sub) \
	INDEX(SUBSCRIPTION_NAME_IDX, subscription_worker_type_key, "worker_type") \
	TABLE(ROUND_0, round_0, round) \
	ALIKE(ROUND_1, round_1, round) \
	INDEX(ROUND_0_IDX, round_0_idx, "round_no") \
	INDEX(ROUND_1_IDX, round_1_idx, "round_no") \
	TABLE(LANE_STATE_0, lane_state_0, lane) \
	ALIKE(LANE_STATE_1, lane_state_1, lane) \
	INDEX(LANE_STATE_0_IDX, lane_state_0_idx, "sub_id,lane,ver") \
	INDEX(LANE_STATE_1_IDX, lane_state_1_idx, "sub_id,lane,ver") \
	TABLE(EVENT_RETRY, event_retry, retry) \
	INDEX(EVENT_RETRY_PKEY, event_retry_pkey, "sub_id,lane,pos") \
	INDEX(EVENT_RETRY_KEY_IDX, event_retry_key_idx, "sub_id,lane,partition_hash,pos") \
	INDEX(EVENT_RETRY_DUE_IDX, event_retry_due_idx, "sub_id,lane,due_at") \
	INDEX(EVENT_RETRY_NEXT_IDX, event_retry_next_idx, "sub_id,due_at") \
	INDEX(EVENT_RETRY_TOPIC_IDX, event_retry_topic_idx, "sub_id,topic,lane,pos") \
	TABLE(DEAD_LETTER, dead_letter, dead) \
	INDEX(DEAD_LETTER_PENDING_IDX, dead_letter_pending_idx, "worker_type,tenant_id,coalesce,coalesce1,coalesce2,event_id") \
	INDEX(DEAD_LETTER_SETTLED_IDX, dead_letter_settled_idx, "resolved_at") \
	INDEX(DEAD_LETTER_TENANT_IDX, dead_letter_tenant_idx, "tenant_id,status,dead_at,event_id,worker_type") \
	INDEX(DEAD_LETTER_WORKER_IDX, dead_letter_worker_idx, "worker_type,status,dead_at,event_id") \
	INDEX(DEAD_LETTER_STATUS_IDX, dead_letter_status_idx, "status,dead_at,event_id,worker_type") \
	TABLE(DEAD_LETTER_REPLACED, dead_letter_replaced, replaced) \
	INDEX(DEAD_LETTER_REPLACED_PKEY, dead_letter_replaced_pkey, "worker_type,replaced_by") \
	TABLE(DEAD_LETTER_COUNT, dead_letter_count, count) \
	INDEX(DEAD_LETTER_COUNT_IDX, dead_letter_count_idx, "tenant_id,worker_type,event_type") \
	INDEX(DEAD_LETTER_COUNT_NEW_IDX, dead_letter_count_new_idx, "tenant_id,worker_type,event_type") \
	TABLE(ALERT, alert, alert) \
	INDEX(ALERT_PKEY, alert_pkey, "alert,tenant_id") \
	TABLE(RETRY_POLICY, retry_policy, policy) \
	TABLE(EVENT_TYPE, event_type, type) \
	INDEX(EVENT_TYPE_PKEY, event_type_pkey, "event_type,version") \
	TABLE(TENANT_GRANT, tenant_grant, grant) \
	INDEX(TENANT_GRANT_PKEY, tenant_grant_pkey, "role,tenant_id,right_name") \
	TABLE(WORK_GRANT, work_grant, work) \
	INDEX(WORK_GRANT_PKEY, work_grant_pkey, "worker_type,role") \
	TABLE(PROOF_ROLE, proof_role, proof) \
	INDEX(PROOF_ROLE_PKEY, proof_role_pkey, "role") \
	TABLE(ACTION_LOG, action_log, action) \
	INDEX(ACTION_LOG_CLOCK_IDX, action_log_clock_idx, "clock_id") \
	INDEX(ACTION_LOG_TENANT_IDX, action_log_tenant_idx, "tenant_id,clock_id") \
	INDEX(ACTION_LOG_AGGREGATE_IDX, action_log_aggregate_idx, "tenant_id,kind,aggregate_id,clock_id") \
	TABLE(TENANT_LIMIT, tenant_limit, limit) \
	INDEX(TENANT_LIMIT_PKEY, tenant_limit_pkey, "tenant_id,kind") \
	TABLE(TENANT_WEIGHT, tenant_weight, weight) \
	INDEX(TENANT_WEIGHT_PKEY, tenant_weight_pkey, "tenant_id") \
	INDEX(TENANT_WEIGHT_IDX, tenant_weight_weight_idx, "weight") \
	TABLE(BACKLOG_LIMIT, backlog_limit, pressure) \
	INDEX(BACKLOG_LIMIT_PKEY, backlog_limit_pkey, "worker_type,tenant_id") \
	TABLE(AUDIT_INTERVAL, audit_interval, interval) \
	INDEX(AUDIT_INTERVAL_PKEY, audit_interval_pkey, "interval_no") \
	INDEX(AUDIT_INTERVAL_TO_IDX, audit_interval_to_idx, "to_id") \
	TABLE(AUDIT_ROOT, audit_root, root) \
	INDEX(AUDIT_ROOT_PKEY, audit_root_pkey, "tenant_id,root_no") \
	INDEX(AUDIT_ROOT_INTERVAL_IDX, audit_root_interval_idx, "interval_no,tenant_id") \
	TABLE(AUDIT_DROPPED, audit_dropped, dropped) \
	INDEX(AUDIT_DROPPED_TO_IDX, audit_dropped_to_idx, "to_id") \
	TABLE(REDACTION, redaction, redaction) \
	INDEX(REDACTION_PKEY, redaction_pkey, "tenant_id,event_type,path") \
	TABLE(DEADLINE, deadline, deadline) \
	INDEX(DEADLINE_KEY_IDX, deadline_key_idx, "tenant_id,aggregate_id,kind,deadline_id") \
	INDEX(DEADLINE_NEXT_IDX, deadline_next_idx, "next_at") \
	INDEX(DEADLINE_ENDED_IDX, deadline_ended_idx, "ended_at") \
	TABLE(SLA_THRESHOLD, sla_threshold, sla)

#endif							/* SN_TABLES_H */
