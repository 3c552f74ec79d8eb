/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker.h
 *		What a message broker is to the relay: one struct of functions.
 *
 * This header is plain C: no server header, no client library.  A provider
 * (broker_kafka.c is the first) lives in a shared library of its own, which
 * only the relay process loads.  Whoever drives it is called the host here.
 *
 *
 * LOADING
 *
 * Load with dlopen(path, RTLD_NOW | RTLD_LOCAL) in the process that will use
 * it, after the fork that made that process: the client library starts
 * threads, and threads do not survive a fork.  Look up SN_BROKER_ENTRY, call
 * it with SN_BROKER_ABI; NULL means library and host do not fit each other.
 * Never dlclose() it.
 *
 *
 * THREADS
 *
 * A handle belongs to one thread.  Everything the host sees (reports, log
 * lines, errors) comes out of a call the host made, on the host's thread;
 * the library's own threads run with all signals blocked and never call the
 * host.  The log callback runs inside open, restart, poll and close; it must
 * return (no longjmp, so no ereport(ERROR) in it).  The library uses
 * malloc only.
 *
 *
 * ONE TURN OF A HOST
 *
 *		for each record, in order:
 *			send()		SN_SEND_OK			a report will come, exactly one
 *						SN_SEND_FULL		nothing happened; poll(), then send again
 *						SN_SEND_LATER		nothing happened: this record has to wait for
 *											the answer to another.  Send others, but none
 *											of its key, and this one when poll() has
 *											reported something, or after a while: by
 *											then it may be known that it need not wait
 *						SN_SEND_REFUSED		this record can never go; no report will
 *											come; the others are not affected
 *						SN_SEND_NO_TOPIC	this record's topic cannot be written now: see
 *											TOPICS; no report will come
 *						SN_SEND_STOPPED		the producer is stopped: see RECOVERY
 *		poll(h, 0, reports, max) until it returns fewer than max
 *		health(): if stopped, see RECOVERY
 *		wait on wake_fd (readable) and on whatever else the host waits for
 *
 * send() copies topic, key, value and headers.  poll() must have returned
 * fewer than max before the host waits on wake_fd: the descriptor becomes
 * readable when something arrives in an empty queue, not once per report.
 * poll() empties the descriptor itself.  Never hold a database transaction
 * open around any of these calls.  No call blocks longer than the time given
 * to it; send, create_topic, health and purge do not block.
 *
 *
 * REPORTS
 *
 *		SN_REPORT_OK		stored by the broker (all in-sync replicas)
 *		SN_REPORT_REFUSED	the broker refuses it, and would again.
 *							alone = true:  it is this record; give it up.
 *							alone = false: it was in a batch that was refused
 *							as a whole, so that it may be innocent: see
 *							RECOVERY, do not give it up yet
 *		SN_REPORT_NO_TOPIC	not stored, and no fault of the record: its topic is
 *							not there, may not be written or does not take
 *							records now.  Hold the topic's records: see TOPICS
 *		SN_REPORT_RETRY		not stored, or not known to be: send it again, but
 *							only as part of RECOVERY
 *		SN_REPORT_STOPPED	as RETRY; the producer itself is broken
 *
 * Never send a record again while the handle still has others outstanding
 * (from inside the treatment of a report, say): those would overtake it.
 *
 *
 * ORDER AND RECOVERY
 *
 * Records of one key are stored in the order of send(), for as long as all
 * are reported OK, whatever the network does; retries happen inside.  After
 * the first report that is not OK (but for one record with alone = true, and
 * NO_TOPIC: when that concerns more than its topic, the producer stops), or
 * SN_SEND_STOPPED, or health.stopped:
 *
 *		1. stop sending;
 *		2. purge(h, false), then poll until health.outstanding is 0, for a
 *		   second at most: what had been sent still gets its answer, which
 *		   keeps duplicates few; what had not comes back as RETRY;
 *		3. purge(h, true), poll until outstanding is 0 (at most a second: what
 *		   is left then counts as RETRY);
 *		4. restart(h, isolate, deadline): a new producer, same wake_fd, secrets
 *		   read again.  Requests for topics are forgotten; ask again for those
 *		   not answered;
 *		5. send again, in the old order, from the lowest record of each lane
 *		   that has no OK and was not given up (records after it that have an
 *		   OK may be left out).
 *
 * isolate = true if a report had alone = false: each record then travels in
 * a batch of its own, so that the next refusal names the culprit (alone is
 * always true in this mode).  A refusal stops the producer in this mode too.
 * As soon as the culprit is named, or all suspects have an OK (then let
 * outstanding fall to 0 first), restart with isolate = false: isolate mode
 * is several times slower.
 *
 * OK takes proof: the broker has told where the record is stored.  An answer
 * that leaves this open is RETRY.
 *
 * What is promised is: at least once; the first occurrences of the records
 * of one key are in order; a duplicate carries the same event id.
 *
 *
 * TOPICS
 *
 * create_topic() starts a request and returns; the answer is a report with
 * kind = SN_REPORT_TOPIC and the opaque given: OK (created, was there, or the
 * broker cannot be asked, in which case its auto-creation has to do),
 * REFUSED (it may not be made, or not so; it may be there nevertheless) or
 * RETRY.  Send the records of a topic after its answer.  Without
 * create_topic() an unknown topic is reported NO_TOPIC some 30 s
 * (topic.metadata.propagation.max.ms) after the first record, unless the
 * broker creates topics by itself.
 *
 * A topic can become impossible at any time: deleted, its rights taken away.
 * After NO_TOPIC send no more of its records until none of them is
 * outstanding, ask for the topic again, and then send one: each that is denied
 * costs a producer.  Other topics go on meanwhile.
 *
 *
 * READING BACK
 *
 * tail() hands out the event ids of the last records of a topic, at most
 * per_partition of each of its partitions, and of what arrives there until the
 * time until_ms of CLOCK_MONOTONIC: what an earlier producer had handed to the
 * network may be stored later than its end.  NULL when a provider cannot.
 *
 *
 * WHEN THE BROKER IS AWAY
 *
 * Records wait in the handle without limit of time, at most
 * queue_max_messages / queue_max_kbytes of them; the library reconnects by
 * itself with back-off.  For a circuit breaker the host has two signals:
 * health.failures, which counts broker errors while something waits for an
 * answer, and health.stalled_ms, the
 * time since the last sign of progress while records are outstanding (errors
 * of the same kind are not all counted, a stall always is).  A report OK is
 * the signal of success.  When the breaker opens: steps 1 to 4, nothing sent
 * until it half-opens.
 *
 *
 * LIFE OF A HANDLE
 *
 * open() connects nothing by itself and does not wait for the broker: it
 * fails only on settings, secrets, memory.  close() never takes longer than
 * its deadline (capped at 3 s), throws away what is outstanding without
 * reports, and is safe in an exit callback.  If it returns false a thread
 * (in a name look-up, most likely) is still ending in the background.
 */
#ifndef SN_BROKER_H
#define SN_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/props.h"

/* Version of everything in this file; raised with every change to it. */
#define SN_BROKER_ABI 6

/* Name of the function to look up in a provider's library. */
#define SN_BROKER_ENTRY "sn_broker_provider"

/* No call to close() or restart() waits longer than this. */
#define SN_BROKER_CLOSE_MAX_MS 3000

/* One header; the value is bytes, its length does not count a NUL. */
typedef struct SnRecordHeader
{
	const char *name;
	const char *value;
	size_t		value_len;
} SnRecordHeader;

/* One record to send.  Everything is copied by send(). */
typedef struct SnRecord
{
	const char *topic;
	const void *key;			/* never NULL: it decides the partition */
	size_t		key_len;
	const void *value;
	size_t		value_len;
	const SnRecordHeader *headers;
	int			nheaders;
	int64_t		timestamp_ms;	/* since 1970; 0 = time of sending */
	uint64_t	opaque;			/* comes back in the report */
} SnRecord;

typedef enum SnSendResult
{
	SN_SEND_OK,
	SN_SEND_FULL,
	SN_SEND_LATER,
	SN_SEND_REFUSED,
	SN_SEND_NO_TOPIC,
	SN_SEND_STOPPED
} SnSendResult;

typedef enum SnTailResult
{
	SN_TAIL_READ,				/* all of it */
	SN_TAIL_PART,				/* it cannot be read, or not in the time */
	SN_TAIL_AWAY				/* no broker answers: try again later */
} SnTailResult;

/* What tail() is to do */
typedef struct SnTail
{
	const char *topic;
	int			per_partition;	/* records */
	int64_t		until_ms;		/* what arrives until then counts, too */
	int			timeout_ms;
	void		(*take) (void *arg, const char *event_id, size_t len);
	void	   *arg;
} SnTail;

typedef enum SnReportKind
{
	SN_REPORT_RECORD,
	SN_REPORT_TOPIC
} SnReportKind;

typedef enum SnReportStatus
{
	SN_REPORT_OK,
	SN_REPORT_REFUSED,
	SN_REPORT_NO_TOPIC,			/* of records only */
	SN_REPORT_RETRY,
	SN_REPORT_STOPPED
} SnReportStatus;

typedef struct SnBrokerReport
{
	SnReportKind kind;
	SnReportStatus status;
	bool		alone;			/* meaning of REFUSED, see above */
	uint64_t	opaque;
	const char *error;			/* NULL when OK; valid until the next poll;
								 * never contains payload or secrets */
} SnBrokerReport;

typedef struct SnBrokerHealth
{
	bool		stopped;		/* the producer sends no more: recover */
	uint64_t	outstanding;	/* sent, report not handed out yet */
	uint64_t	failures;		/* broker errors since open */
	int64_t		stalled_ms;		/* see above; 0 = nothing outstanding */
	const char *last_error;		/* "" = none; valid until the next call */
	const char *trouble;		/* the same: what the client last said of its
								 * connections, since the last answer OK */
} SnBrokerHealth;

/*
 * Receives a log line of the client library.  level is syslog's (3 error, 4
 * warning, 6 info, 7 debug).  Secrets that were read are masked.
 */
typedef void (*SnBrokerLog) (void *arg, int level, const char *facility,
							 const char *text);

/*
 * All strings are copied by open().  Of Kafka: what settings do not say is
 * librdkafka's default, but for client.id, linger.ms (0) and
 * reconnect.backoff.max.ms (3000).  batch.size should not exceed the limit of
 * the topics (max.message.bytes): a batch above it is refused as a whole.
 */
typedef struct SnBrokerConfig
{
	const char *settings;		/* text of the provider's parameter */
	const char *secret_directory;	/* of files with secrets; NULL or "": none */
	const char *client_id;		/* default for client.id; NULL = "sentinai" */
	int			queue_max_messages; /* 0 = 10,000 */
	int			queue_max_kbytes;	/* 0 = 32 MiB */
	bool		isolate;		/* as in restart() */
	SnBrokerLog log;			/* may be NULL */
	void	   *log_arg;
} SnBrokerConfig;

/* A connection to a broker.  Opaque to the host. */
typedef struct SnBroker SnBroker;

typedef struct SnBrokerProvider
{
	uint32_t	abi;			/* SN_BROKER_ABI */
	const char *name;			/* as in sentinai.broker */


	/* NULL and a message in err when it cannot be opened. */
	SnBroker   *(*open) (const SnBrokerConfig *config,
						 char *err, size_t err_len);

	/* err is filled for REFUSED, NO_TOPIC and STOPPED. */
	SnSendResult (*send) (SnBroker *broker, const SnRecord *record,
						  char *err, size_t err_len);

	/* Fills at most max reports, waiting at most timeout_ms for the first. */
	int			(*poll) (SnBroker *broker, int timeout_ms,
						 SnBrokerReport *reports, int max);

	/* Readable when poll() has something; the same for the handle's life. */
	int			(*wake_fd) (const SnBroker *broker);

	/* Gives up what is queued, and with inflight what is on the way. */
	void		(*purge) (SnBroker *broker, bool inflight);

	/* New producer in the same handle; false: call again later or close(). */
	bool		(*restart) (SnBroker *broker, bool isolate, int timeout_ms,
							char *err, size_t err_len);

	/* False: the request could not be made (message in err). */
	bool		(*create_topic) (SnBroker *broker, const char *topic,
								 int partitions, int replication_factor,
								 uint64_t opaque, char *err, size_t err_len);

	/* Read a topic's end; err is filled for PART and AWAY. */
	SnTailResult (*tail) (SnBroker *broker, const SnTail *tail, char *err,
						  size_t err_len);

	void		(*health) (SnBroker *broker, SnBrokerHealth *health);

	/* Frees the handle.  NULL is fine.  False: see LIFE OF A HANDLE. */
	bool		(*close) (SnBroker *broker, int timeout_ms);
} SnBrokerProvider;

/* Where the brokers are, as people and documents are told */
typedef struct SnBrokerServers
{
	const char *hosts;			/* a list; NULL: none is named */
	const char *protocol;		/* as AsyncAPI has it */
	const char *security;		/* how a client proves who it is, likewise; NULL:
								 * not at all, or not told */
} SnBrokerServers;

/*
 * What the server asks about a provider's settings without its library.  It is
 * in both, so it is plain C without the client library, too: NAME_conf.c beside
 * the provider's folder.  None of it reads a file.
 */
typedef struct SnBrokerSettings
{
	/* May this be the setting?  False, and why not in err. */
	bool		(*check) (const char *text, char *err, size_t err_len);

	/* Does it name a broker? */
	bool		(*complete) (const char *text);

	/* The longest value of a record that it lets pass, in bytes. */
	size_t		(*max_record) (const char *text);

	/*
	 * Which brokers does it name?  No user, no file and no secret is told.  The
	 * strings live until the caller frees the result; NULL: the setting is
	 * refused.
	 */
	SnProps    *(*servers) (const char *text, SnBrokerServers *servers);

	/* Can a topic be read again, from its end, by us and by other programs? */
	bool		is_log;

	/* Are records messages of AMQP? */
	bool		is_amqp;
} SnBrokerSettings;

typedef const SnBrokerProvider *(*SnBrokerEntry) (uint32_t abi);

extern const SnBrokerProvider *sn_broker_provider(uint32_t abi);

#endif							/* SN_BROKER_H */
