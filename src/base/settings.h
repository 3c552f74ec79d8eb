/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * settings.h
 *		Every setting, once: guc.h makes the declaration of its variable of it,
 *		guc.c the variable and the definition.  The setting sentinai.x is in
 *		sn_x.
 *
 * SN_INT(name, default, least, most, context, flags, check hook, text, more)
 * SN_BOOL(name, default, context, flags, text, more)
 * SN_ENUM(name, default, options, context, flags, text, more)
 * SN_STRING(name, default, context, flags, check hook, text, more)
 *
 * Some need more than a check hook: work_on and traceparent stand in log/flow.c,
 * and a broker's parameter comes from the list in relay/relay_provider.h.
 *
 * The unit is one of the flags; more is a second sentence, or NULL.  No guard:
 * it is included with these four defined, and undefines them.
 */

/* publish */
SN_INT(idempotency_window, 86400, 1, 30 * 86400, PGC_SIGHUP, GUC_UNIT_S, check_idempotency_window,
	   "How long an idempotency key is remembered.", NULL)
SN_INT(max_payload, 1024, 1, 262144, PGC_SIGHUP, GUC_UNIT_KB, NULL,
	   "Largest payload that publish() takes.", NULL)
SN_INT(max_batch, 100000, 1, 1000000, PGC_SIGHUP, 0, NULL,
	   "Most events that one publish_batch() takes.", NULL)
SN_INT(long_run, 16, 0, SN_RUN_MAX, PGC_USERSET, 0, NULL,
	   "Least number of events of one tenant in a batch that have no index entries for their keys.",
	   "They are found by a list of their keys instead; 0 indexes every event.")
SN_STRING(tracestate, "", PGC_USERSET, GUC_NOT_IN_SAMPLE, NULL,
		  "W3C tracestate that goes with sentinai.traceparent.", NULL)
SN_ENUM(unknown_event_types, SN_UNKNOWN_ALLOW, unknown_type_options, PGC_SUSET, 0,
		"Whether events of types that are not registered can be published.", NULL)
/* not for ALTER SYSTEM: it says which file the server reads */
SN_STRING(redaction_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY | GUC_DISALLOW_IN_AUTO_FILE, NULL,
		  "File in secret_directory with the key of redaction's hashes; only the server's own configuration file names it.", NULL)

/* tenants */
SN_BOOL(tenant_isolation, false, PGC_SUSET, 0,
		"Whether callers may do for a tenant only what they were granted.", NULL)
/* not for ALTER SYSTEM: who may set it says what is a proof */
SN_STRING(proof_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY | GUC_DISALLOW_IN_AUTO_FILE, NULL,
		  "File in sentinai.secret_directory with the key that proofs for act_as() are made with.", NULL)

SN_INT(operator_timeout, 10000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL,
	   "Longest time that an operator of single tenants may hold what other tenants wait for; 0 is no bound.",
	   "Then his session ends.")

/* limits */
SN_INT(limit_buckets, 262144, 1024, SN_MAX_LIMIT_BUCKETS, PGC_SIGHUP, 0, NULL,
	   "Most tenants and kinds whose limits the server counts at a time.", NULL)
SN_BOOL(limit_bypass, false, PGC_SUSET, 0,
		"Whether what this session does is neither counted nor refused by limits.", NULL)

/* storage */
SN_INT(lanes, SN_MAX_LANES, 1, SN_MAX_LANES, PGC_SIGHUP, 0, NULL,
	   "Number of lanes of a database, fixed when it first publishes or subscribes.", NULL)
SN_INT(partition_interval, 1440, 1, 366 * 1440, PGC_SIGHUP, GUC_UNIT_MIN, check_partition_interval,
	   "Time span of one partition of the log.", NULL)
SN_INT(partitions_ahead, 3, 1, 100, PGC_SIGHUP, 0, NULL,
	   "Number of partitions made ahead of their time.", NULL)
SN_INT(retention, 43200, -1, INT_MAX / 60, PGC_SIGHUP, GUC_UNIT_MIN, check_retention,
	   "Age at which partitions are dropped once everybody has passed them; -1 keeps them.", NULL)
SN_INT(dead_letter_retention, 129600, -1, INT_MAX / 60, PGC_SIGHUP, GUC_UNIT_MIN, check_dead_letter_retention,
	   "Age at which dead letters that were settled are removed; -1 keeps them.", NULL)
SN_INT(deadline_retention, 129600, -1, INT_MAX / 60, PGC_SIGHUP, GUC_UNIT_MIN, check_deadline_retention,
	   "Age at which deadlines that have ended are removed; -1 keeps them.", NULL)
SN_INT(journal_size, 65536, 64, INT_MAX / 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL,
	   "Size at which a half of a journal is carried over and truncated.", NULL)

SN_BOOL(audit, false, PGC_SIGHUP, 0,
		"Whether evidence of what the log has is made.", "See verify_audit().")
SN_INT(audit_interval, 60, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL,
	   "Longest time of events that one piece of evidence is about.", NULL)

/* workers */
SN_INT(launcher_naptime, 10, 1, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL,
	   "How often the launcher looks for databases with the extension.", NULL)
SN_INT(maintenance_interval, 60, 1, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL,
	   "How often partitions and journals are looked after.", NULL)
SN_INT(sla_interval, 1, 0, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL,
	   "How often the sequencer looks for deadlines that have come; 0 is never.",
	   "Then somebody else has to call sla_scan(), see enable_cron().")
SN_INT(sequencer_naptime, 1000, 10, 60000, PGC_SIGHUP, GUC_UNIT_MS, NULL,
	   "Longest sleep of an idle sequencer.", NULL)
SN_INT(round_interval, 20, 0, 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL,
	   "Longest pause between rounds under load while somebody waits for events; 0 makes every round immediate.", NULL)
SN_INT(sort_memory, 65536, 64, 1048576, PGC_SIGHUP, GUC_UNIT_KB, NULL,
	   "Memory of the sequencer for sorting a round; larger rounds sort on disk.", NULL)

SN_INT(crowded_at, 1000, 0, INT_MAX, PGC_SIGHUP, 0, NULL,
	   "Number of waiting events of a tenant from which on others need not wait behind them.",
	   "It gets a track of its own then, with which the others take turns; 0 is never.")
SN_INT(max_tracks, SN_TRACKS - 1, 1, SN_TRACKS - 1, PGC_SIGHUP, 0, NULL,
	   "Number of tenants that can have a track of their own at a time.",
	   "With more of them some share one, and are served in the order of their events there.")
SN_INT(idle_after, 600, 0, 604800, PGC_SIGHUP, GUC_UNIT_S, NULL,
	   "Time without a claim after which nobody counts as working for a subscription.",
	   "What it has left no longer decides which tenants have tracks of their own.")

/* relay */
SN_ENUM(broker, SN_BROKER_KAFKA, broker_options, PGC_SIGHUP, 0,
		"Kind of broker the relay produces to.", NULL)
SN_INT(relay_workers, 1, 0, SN_MAX_RELAY_WORKERS, PGC_SIGHUP, 0, NULL,
	   "Number of relay processes in each database.", NULL)
SN_ENUM(relay_start_from, SN_RELAY_EARLIEST, relay_start_options, PGC_SIGHUP, 0,
		"Where the relay of a database begins when it runs for the first time.", NULL)
SN_STRING(relay_event_types, "", PGC_SIGHUP, 0, check_event_types,
		  "Types of the events that the relay sends, separated by commas; empty sends all.", NULL)
SN_STRING(relay_record_options, "", PGC_SIGHUP, 0, check_record_options,
		  "Key, headers, topics and tombstones of the records that the relay sends; empty: those of the format.",
		  "It is written as record_options of create_relay().")
SN_STRING(relay_limits, "", PGC_SIGHUP, 0, check_relay_limits,
		  "How much the relay may send in a second and have on its way; empty: no limits of its own.",
		  "It is written as limits of create_relay().")
SN_INT(relay_inflight, 10000, 1, 100000, PGC_SIGHUP, 0, NULL,
	   "Most events a relay has sent without an answer: the bound on duplicates after a crash.", NULL)
SN_INT(relay_buffer, 32768, 1024, 1048576, PGC_SIGHUP, GUC_UNIT_KB, NULL,
	   "Most bytes a relay holds in records that are not answered.", NULL)
SN_INT(breaker_failures, 5, 1, 1000, PGC_SIGHUP, 0, NULL,
	   "Failures in a row after which the relay leaves the broker alone.", NULL)
SN_INT(breaker_open_time, 60, 1, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL,
	   "How long the relay leaves a failing broker alone before it tries again.", NULL)
SN_INT(sync_grace, 10, 0, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL,
	   "How long the relay holds what no standby has confirmed after synchronous_standby_names has become empty.", NULL)

/* records and topics */
/* not for ALTER SYSTEM: who may set kafka_conf says who gets the secrets */
SN_STRING(secret_directory, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY | GUC_DISALLOW_IN_AUTO_FILE, check_secret_directory,
		  "Directory of the files with secrets that kafka_conf may name; only the server's own configuration file sets it.", NULL)
SN_STRING(topic_template, "", PGC_SIGHUP, 0, check_topic_template,
		  "Topic of an event; {tenant}, {aggregate_type} and {event_type} are replaced.",
		  "Empty: sentinai.{aggregate_type}, or outbox.event.{aggregate_type} when the format is debezium.")
SN_STRING(control_topic, "", PGC_SIGHUP, 0, check_control_topic,
		  "Topic of the extension's own events about retries and dead letters; empty does not send them.", NULL)
SN_STRING(dead_letter_topic, "", PGC_SIGHUP, 0, check_control_topic,
		  "Topic of the records that the broker has refused for good; empty sends them nowhere.", NULL)
SN_INT(topic_partitions, 12, 0, 10000, PGC_SIGHUP, 0, NULL,
	   "Partitions of a topic the relay creates; 0 leaves creation to the broker.", NULL)
SN_INT(topic_replication, -1, -1, 32, PGC_SIGHUP, 0, NULL,
	   "Replication factor of a topic the relay creates; -1 is the broker's default.", NULL)
SN_INT(topic_timeout, 3 * 24 * 3600, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, check_topic_timeout,
	   "How long an event waits for a topic that cannot be written before it becomes a dead letter; -1 is for ever.", NULL)
SN_ENUM(record_format, SN_RECORD_CLOUDEVENTS, format_options, PGC_SIGHUP, 0,
		"Form of the records the relay produces.", NULL)
SN_ENUM(record_timestamp, SN_TIME_SENDING, timestamp_options, PGC_SIGHUP, 0,
		"Timestamp of the records the relay produces.", NULL)

#undef SN_INT
#undef SN_BOOL
#undef SN_ENUM
#undef SN_STRING
