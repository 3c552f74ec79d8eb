/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_kafka.h
 *		What the files of the Kafka provider share.  Not for hosts.
 */
#ifndef SN_BROKER_KAFKA_H
#define SN_BROKER_KAFKA_H

#include <librdkafka/rdkafka.h>

#include "broker/broker.h"
#include "broker/client/client.h"
#include "broker/kafka_conf.h"

/*
 * Headers of more than SN_SPARE_COUNT are not used again; those that wait are
 * looked for in SN_SHAPES lists.
 */
#define SN_SPARE_COUNT 16
#define SN_SHAPES 1024

/* A topic as far as the producer at hand has written it, and all of them */
typedef struct SnGate SnGate;
typedef struct SnGates SnGates;

#define SN_UNPLACED (-1)		/* in place of a partition's number */

/* A record that librdkafka has, or its headers waiting for the next one */
typedef struct SnSent
{
	uint64_t	opaque;			/* the host's */
	SnGate	   *gate;
	int			partition;		/* or SN_UNPLACED */
	rd_kafka_headers_t *headers;
	uint64_t	shape;
	int			next;			/* place in the same list, or -1 */
	int			count;			/* of headers; 0: not to be used again */
	bool		in_use;
	const char *names[SN_SPARE_COUNT];	/* in the headers, like the values */
	char	   *values[SN_SPARE_COUNT];
	uint16_t	lens[SN_SPARE_COUNT];
} SnSent;

typedef struct SnSentTable
{
	SnSent	   *all;
	int			size;
	int			first[SN_SHAPES];	/* headers that wait, by shape, or -1 */
	int			spare;			/* number of those */
	int			victim;			/* list to give some up from next */
	int			empty;			/* first place without headers, or -1 */
} SnSentTable;

struct SnBroker
{
	/* Settings */
	SnProps    *conf;
	char	   *client_id;
	char	   *secret_directory;
	int			queue_max_messages;
	int			queue_max_kbytes;
	SnBrokerLog log;
	void	   *log_arg;
	char	   *secrets[SN_PROPS_MAX];
	int			nsecrets;

	/* The producer; NULL between a failed restart and the next */
	rd_kafka_t *producer;
	rd_kafka_queue_t *queue;
	SnGates    *gates;			/* of its topics */
	bool		worn_out;		/* it has to be replaced */
	bool		isolate;
	int			wake[2];		/* pipe: reading end, writing end */

	/* The event taken from the queue and not handed out entirely */
	rd_kafka_event_t *current;

	/* State and figures for health */
	uint64_t	outstanding;
	int			asked;			/* requests for topics without an answer */
	uint64_t	failures;
	int64_t		progress_at;
	char		last_error[256];
	char		trouble[256];	/* why nothing is answered; "" when it is */
	char		certificate[128];	/* why the last one was not accepted */

	SnSentTable table;
};

/* broker_kafka_sent.c */
extern bool sn_kafka_sent_init(SnSentTable *table, int size);
extern int	sn_kafka_sent_make(SnSentTable *table, const SnRecord *record);
extern void sn_kafka_sent_undo(SnSentTable *table, int place);
extern const SnSent *sn_kafka_sent_answered(SnSentTable *table,
											rd_kafka_message_t *message);
extern void sn_kafka_sent_forget(SnSentTable *table);
extern void sn_kafka_sent_free(SnSentTable *table);

/* broker_kafka_gate.c */
extern SnGates *sn_kafka_gates_make(void);
extern void sn_kafka_gates_close(SnGates *gates);
extern void sn_kafka_gates_free(SnGates *gates);
extern SnGate *sn_kafka_gate_find(SnBroker *broker, const char *name);
extern rd_kafka_topic_t *sn_kafka_gate_topic(const SnGate *gate);
extern bool sn_kafka_gate_admits(SnGate *gate, const SnRecord *record,
								 int *place);
extern bool sn_kafka_gate_sent(SnGate *gate, int place);
extern void sn_kafka_gate_answered(SnGate *gate, int place, int partition,
								   int64_t now);
extern void sn_kafka_gate_shut(SnGate *gate);

/* broker_kafka_report.c */
extern int	sn_kafka_reports(SnBroker *broker, int timeout_ms,
							 SnBrokerReport *reports, int max);
extern int	sn_kafka_topic_timeout(const SnBroker *broker);

/* broker_kafka_errors.c */
extern SnReportStatus sn_kafka_classify(rd_kafka_resp_err_t code);
extern SnReportStatus sn_kafka_classify_topic(rd_kafka_resp_err_t code);
extern bool sn_kafka_is_connection(rd_kafka_resp_err_t code);
extern bool sn_kafka_is_summary(rd_kafka_resp_err_t code);

/* broker_kafka_cause.c */
extern void sn_kafka_watch_certificates(rd_kafka_conf_t *conf);
extern void sn_kafka_note_certificate(SnBroker *broker, const char *line);
extern void sn_kafka_cause(SnBroker *broker, const char *error, char *text,
						   size_t text_len);

/* broker_kafka_tail.c */
extern SnTailResult sn_kafka_tail(SnBroker *broker, const SnTail *tail,
								  char *err, size_t err_len);

/* broker_kafka_producer.c */
extern bool sn_kafka_start(SnBroker *broker, bool isolate,
						   char *err, size_t err_len);
extern bool sn_kafka_stop(SnBroker *broker, int timeout_ms);
extern rd_kafka_t *sn_kafka_consumer(SnBroker *broker, char *err,
									 size_t err_len);
extern bool sn_kafka_end(rd_kafka_t *client, SnGates *gates, int timeout_ms);
extern void sn_kafka_forget_secrets(SnBroker *broker);
extern void sn_kafka_note_error(SnBroker *broker, const char *text);
extern void sn_kafka_mask(const SnBroker *broker, char *text);

#endif							/* SN_BROKER_KAFKA_H */
