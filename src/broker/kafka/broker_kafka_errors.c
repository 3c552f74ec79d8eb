/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_kafka_errors.c
 *		What librdkafka's error codes mean for a record or a topic.
 *
 * Invariants: only what is known to be the record's own fault is REFUSED, and
 * so may become a dead letter.
 */
#include "broker/kafka/broker_kafka.h"

/*
 * What an error means for the record.  Anything that is not known to be the
 * record's own fault is RETRY: nothing is given up on a guess.
 */
SnReportStatus
sn_kafka_classify(rd_kafka_resp_err_t code)
{
	switch (code)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			return SN_REPORT_OK;
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
			return SN_REPORT_NO_TOPIC;
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		case RD_KAFKA_RESP_ERR_INVALID_MSG:
		case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
		case RD_KAFKA_RESP_ERR_INVALID_RECORD:
		case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
		case RD_KAFKA_RESP_ERR__INVALID_ARG:
			return SN_REPORT_REFUSED;
		case RD_KAFKA_RESP_ERR__FATAL:
		case RD_KAFKA_RESP_ERR__FENCED:
		case RD_KAFKA_RESP_ERR__INCONSISTENT:
		case RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE:
		case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
		case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
		case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			return SN_REPORT_STOPPED;
		default:
			return SN_REPORT_RETRY;
	}
}

/* What the answer to a request for a topic means. */
SnReportStatus
sn_kafka_classify_topic(rd_kafka_resp_err_t code)
{
	switch (code)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
		case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
		case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
			return SN_REPORT_OK;
		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
		case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
		case RD_KAFKA_RESP_ERR__INVALID_ARG:
			return SN_REPORT_REFUSED;
		default:
			return SN_REPORT_RETRY;
	}
}

/* Is it only that a connection ended, or could not be made? */
bool
sn_kafka_is_connection(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__TRANSPORT ||
		code == RD_KAFKA_RESP_ERR__TIMED_OUT || sn_kafka_is_summary(code);
}

/* Does it follow from errors that tell more? */
bool
sn_kafka_is_summary(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
}
