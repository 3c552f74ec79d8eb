/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_kafka_report.c
 *		What comes out of librdkafka's queue: reports for the host, errors, log
 *		lines.
 *
 * A report's text is never the message's own: librdkafka returns the payload
 * there.
 */
#include "broker/kafka/broker_kafka.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h>

/*
 * Time for the broker to answer a request for a topic; before the first
 * contact with it; and from a mock cluster (see topic_timeout).
 */
#define TOPIC_TIMEOUT_MS 10000
#define TOPIC_TIMEOUT_NEW_MS 1000
#define TOPIC_TIMEOUT_MOCK_MS 1

/* From this version on a connection that ends is a log line and no error. */
#define ENDS_ARE_LOGGED 0x020b01ff

static rd_kafka_event_t *next_report_event(SnBroker *broker, int timeout_ms);
static bool treat_event(SnBroker *broker, rd_kafka_event_t *event);
static void treat_error(SnBroker *broker, rd_kafka_event_t *event);
static void count_failure(SnBroker *broker, rd_kafka_resp_err_t code,
						  const char *text);
static void treat_log(SnBroker *broker, rd_kafka_event_t *event);
static int	take_reports(SnBroker *broker, SnBrokerReport *reports, int max);
static void report_record(SnBroker *broker,
						  const rd_kafka_message_t *message, int64_t now,
						  SnBrokerReport *report);
static void report_topic(SnBroker *broker, rd_kafka_event_t *event,
						 SnBrokerReport *report);
static int	remaining(int64_t deadline);

/* Reports, at most max; waits for the first as long as it may. */
int
sn_kafka_reports(SnBroker *broker, int timeout_ms, SnBrokerReport *reports,
				 int max)
{
	int64_t		deadline = sn_monotonic_ms() + timeout_ms;
	int			n = 0;

	while (n < max)
	{
		if (broker->current == NULL)
			broker->current =
				next_report_event(broker, n == 0 ? remaining(deadline) : 0);
		if (broker->current == NULL)
			break;
		n += take_reports(broker, reports + n, max - n);
	}
	return n;
}

/* The next event that holds reports, or NULL when the time is over. */
static rd_kafka_event_t *
next_report_event(SnBroker *broker, int timeout_ms)
{
	int64_t		deadline = sn_monotonic_ms() + timeout_ms;
	rd_kafka_event_t *event;

	while (broker->queue != NULL)
	{
		event = rd_kafka_queue_poll(broker->queue, remaining(deadline));
		if (event == NULL)
			break;
		if (treat_event(broker, event))
			return event;
	}
	return NULL;
}

/* True if the event holds reports; any other is treated and freed. */
static bool
treat_event(SnBroker *broker, rd_kafka_event_t *event)
{
	switch (rd_kafka_event_type(event))
	{
		case RD_KAFKA_EVENT_DR:
		case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
			return true;
		case RD_KAFKA_EVENT_ERROR:
			treat_error(broker, event);
			break;
		case RD_KAFKA_EVENT_LOG:
			treat_log(broker, event);
			break;
		default:
			break;
	}
	rd_kafka_event_destroy(event);
	return false;
}

/* Counts an error of the broker, whose text may tell the cause. */
static void
treat_error(SnBroker *broker, rd_kafka_event_t *event)
{
	char		text[256];
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);

	if (code == RD_KAFKA_RESP_ERR__FATAL)
		code = rd_kafka_fatal_error(broker->producer, text, sizeof(text));
	else
		sn_kafka_cause(broker, rd_kafka_event_error_string(event), text,
					   sizeof(text));

	/* a refused batch is no failure of the broker's */
	if (code != RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE)
		count_failure(broker, code, text);
}

/*
 * Counts a failure and keeps its text.  While nobody waits for an answer, a
 * connection that ends is none: brokers close those that are idle, and whether
 * one can be made again is seen with the next record.  Its text is kept all the
 * same: librdkafka says the same only once in a while, and what waits from then
 * on waits for that.
 */
static void
count_failure(SnBroker *broker, rd_kafka_resp_err_t code, const char *text)
{
	if (!sn_kafka_is_summary(code))
	{
		snprintf(broker->trouble, sizeof(broker->trouble), "%s", text);
		sn_kafka_mask(broker, broker->trouble);
	}
	if (sn_kafka_is_connection(code) && broker->outstanding == 0 &&
		broker->asked == 0)
		return;
	broker->failures++;
	if (!sn_kafka_is_summary(code) || broker->trouble[0] == '\0')
		sn_kafka_note_error(broker, text);
}

/*
 * Gives a log line to the host.  One about a certificate tells a cause, and one
 * about a connection's end may be all that is said of it.
 */
static void
treat_log(SnBroker *broker, rd_kafka_event_t *event)
{
	const char *facility;
	const char *line;
	const char *failure;
	char		text[1024];
	int			level;

	if (rd_kafka_event_log(event, &facility, &line, &level) != 0)
		return;
	if (strcmp(facility, "SSLCERTVRFY") == 0)
		sn_kafka_note_certificate(broker, line);
	if (strcmp(facility, "FAIL") == 0 && level > LOG_ERR &&
		level < LOG_DEBUG && rd_kafka_version() >= ENDS_ARE_LOGGED)
	{
		/* behind the name of the thread */
		failure = strstr(line, "]: ");
		sn_kafka_cause(broker, failure != NULL ? failure + 3 : line, text,
					   sizeof(text));
		count_failure(broker, RD_KAFKA_RESP_ERR__TRANSPORT, text);
	}
	if (broker->log == NULL)
		return;
	snprintf(text, sizeof(text), "%s", line);
	sn_kafka_mask(broker, text);
	broker->log(broker->log_arg, level, facility, text);
}

/* Takes reports out of the current event, and frees it when it is empty. */
static int
take_reports(SnBroker *broker, SnBrokerReport *reports, int max)
{
	rd_kafka_event_t *event = broker->current;
	const rd_kafka_message_t *message;
	int64_t		now = sn_monotonic_ms();
	bool		progress = false;
	int			n = 0;

	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
	{
		while (n < max &&
			   (message = rd_kafka_event_message_next(event)) != NULL)
		{
			report_record(broker, message, now, &reports[n]);
			progress |= reports[n++].status == SN_REPORT_OK;
		}
		if (progress)
		{
			broker->progress_at = now;
			broker->trouble[0] = '\0';
		}
		if (n == max)
			return n;
	}
	else
		report_topic(broker, event, &reports[n++]);
	rd_kafka_event_destroy(event);
	broker->current = NULL;
	return n;
}

/*
 * Report on one record.  Whatever librdkafka believes, stored is what has an
 * offset: it also takes a record for delivered because a later one was.
 */
static void
report_record(SnBroker *broker, const rd_kafka_message_t *message,
			  int64_t now, SnBrokerReport *report)
{
	rd_kafka_resp_err_t code = message->err;
	bool		stored = code == 0 && message->offset >= 0;
	const SnSent *sent;

	report->kind = SN_REPORT_RECORD;
	report->status = code == 0 && !stored ? SN_REPORT_RETRY :
		sn_kafka_classify(code);
	report->alone = report->status == SN_REPORT_REFUSED && broker->isolate;
	/* the message is the event's, but its headers may be taken */
	sent = sn_kafka_sent_answered(&broker->table,
								  (rd_kafka_message_t *) message);
	report->opaque = sent->opaque;
	sn_kafka_gate_answered(sent->gate, sent->partition,
						   stored ? message->partition : -1, now);
	if (report->status == SN_REPORT_NO_TOPIC)
		sn_kafka_gate_shut(sent->gate);

	/* not the message's own text: librdkafka returns the payload there */
	report->error = stored ? NULL : code == 0 ?
		"acknowledged without an offset" : rd_kafka_err2str(code);
	broker->outstanding--;
	if (!stored && (report->status == SN_REPORT_REFUSED ||
					report->status == SN_REPORT_NO_TOPIC || code == 0))
		sn_kafka_note_error(broker, report->error);
}

/* Report on a request for a topic. */
static void
report_topic(SnBroker *broker, rd_kafka_event_t *event,
			 SnBrokerReport *report)
{
	const rd_kafka_CreateTopics_result_t *result =
		rd_kafka_event_CreateTopics_result(event);
	const rd_kafka_topic_result_t **topics;
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);
	const char *detail = rd_kafka_event_error_string(event);
	char		text[256];
	size_t		count = 0;

	topics = rd_kafka_CreateTopics_result_topics(result, &count);
	if (code == 0 && count > 0)
	{
		code = rd_kafka_topic_result_error(topics[0]);
		detail = rd_kafka_topic_result_error_string(topics[0]);
	}
	broker->asked--;
	memset(report, 0, sizeof(*report));
	report->kind = SN_REPORT_TOPIC;
	report->status = sn_kafka_classify_topic(code);
	if (code == RD_KAFKA_RESP_ERR__TIMED_OUT &&
		sn_kafka_topic_timeout(broker) == TOPIC_TIMEOUT_MOCK_MS)
		report->status = SN_REPORT_OK;
	report->alone = report->status == SN_REPORT_REFUSED;
	report->opaque = (uint64_t) (uintptr_t) rd_kafka_event_opaque(event);
	if (report->status == SN_REPORT_OK)
	{
		broker->trouble[0] = '\0';
		/* a new handle asks for the partitions; records would a second later */
		if (count > 0 && broker->producer != NULL)
			(void) sn_kafka_gate_find(broker,
									  rd_kafka_topic_result_name(topics[0]));
		return;
	}
	report->error = rd_kafka_err2str(code);
	if (code == RD_KAFKA_RESP_ERR__TIMED_OUT && broker->trouble[0] != '\0')
	{
		/* no answer came, and this is why */
		report->error = broker->trouble;
		return;
	}
	snprintf(text, sizeof(text), "could not create topic: %s",
			 detail != NULL ? detail : report->error);
	sn_kafka_note_error(broker, text);
}

/*
 * How long to wait for the answer about a topic.  librdkafka's mock cluster,
 * told by its cluster id, names a controller that does not exist, and so never
 * answers; it creates topics by itself.
 */
int
sn_kafka_topic_timeout(const SnBroker *broker)
{
	char	   *cluster = rd_kafka_clusterid(broker->producer, 0);
	int			timeout = TOPIC_TIMEOUT_MS;

	if (cluster == NULL)
		timeout = TOPIC_TIMEOUT_NEW_MS;
	else if (strncmp(cluster, "mockCluster", strlen("mockCluster")) == 0)
		timeout = TOPIC_TIMEOUT_MOCK_MS;
	if (cluster != NULL)
		rd_kafka_mem_free(broker->producer, cluster);
	return timeout;
}

/* Milliseconds until the deadline, 0 when it has passed. */
static int
remaining(int64_t deadline)
{
	int64_t		left = deadline - sn_monotonic_ms();

	return left > 0 ? (int) left : 0;
}
