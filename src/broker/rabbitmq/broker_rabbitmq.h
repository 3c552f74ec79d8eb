/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_rabbitmq.h
 *		What the files of the RabbitMQ provider share.  Not for hosts.
 */
#ifndef SN_BROKER_RABBITMQ_H
#define SN_BROKER_RABBITMQ_H

/* librabbitmq 0.12 has moved its headers */
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif
#include <pthread.h>

#include "broker/broker.h"
#include "broker/client/client.h"
#include "broker/rabbitmq_conf.h"

#define SN_RABBIT_KEYS 65536	/* counters of what is on its way, by hash */
#define SN_RABBIT_ERROR 256		/* bytes of an error's text */
#define SN_RABBIT_REASON 128	/* and of what is said of one record */

/* What the host is going to be told.  It is there before anything can fail. */
typedef struct SnRabbitReport
{
	struct SnRabbitReport *next;
	SnReportKind kind;
	SnReportStatus status;
	uint64_t	opaque;			/* the host's */
	char		error[SN_RABBIT_REASON];
} SnRabbitReport;

/* A record, copied into one block, which its report is a part of; */
typedef struct SnRabbitMessage
{
	SnRabbitReport report;		/* first: freeing it frees all */
	struct SnRabbitMessage *next;	/* in the queue */
	uint64_t	tag;			/* of its confirm */
	unsigned	key;			/* its counter */
	bool		returned;		/* no queue takes it */
	bool		way_is_made;	/* with its topic; so it may be made again */
	bool		given_up;		/* purged while the thread was writing it */
	const char *exchange;
	const char *routing_key;
	amqp_basic_properties_t properties;
	amqp_bytes_t body;
} SnRabbitMessage;

/* and a topic to be made. */
typedef struct SnRabbitTopic
{
	SnRabbitReport report;		/* first, too */
	struct SnRabbitTopic *next;
	char		name[];
} SnRabbitTopic;

/*
 * A producer: a thread and its connection.  The host and the thread share it
 * under the lock; whoever is the last to let go frees it.
 */
typedef struct SnRabbitLink
{
	pthread_mutex_t lock;
	pthread_cond_t ended;		/* the thread is about to end */
	int			holders;		/* the host, the thread */
	bool		done;			/* the thread uses nothing any more */
	bool		stopping;		/* the host wants no more of it */
	bool		stopped;		/* it sends no more: recovery */
	int			fd;				/* of the connection, or -1 */
	int			work[2];		/* pipe that wakes the thread */
	int			wake;			/* writing end of the host's pipe */

	/* To be published, in order */
	SnRabbitMessage *first;
	SnRabbitMessage *last;
	SnRabbitMessage *writing;	/* by the thread, without the lock */
	SnRabbitTopic *topics;		/* to be made, in order */

	/* Published and not confirmed: tags in [oldest, next_tag) */
	SnRabbitMessage **flight;
	uint64_t	flight_mask;
	uint64_t	oldest;
	uint64_t	next_tag;

	SnRabbitReport *reports;
	SnRabbitReport *last_report;
	uint64_t	messages;		/* queued or in flight */
	uint64_t	unread;			/* reports of records that wait */
	size_t		bytes;
	uint16_t	on_their_way[SN_RABBIT_KEYS];

	uint64_t	failures;
	int64_t		progress_at;
	bool		blocked;		/* by an alarm of the broker */
	bool		answered;		/* something was stored by this link */
	char		last_error[SN_RABBIT_ERROR];
	char		trouble[SN_RABBIT_ERROR];

	/* Only the thread's, after it has begun */
	SnRabbitmqConf conf;
	char	   *password;		/* or NULL */
	char	   *key_place;		/* of the private key, or NULL */
	char	   *client_id;
	amqp_connection_state_t connection;
	int			refusal;		/* OpenSSL's, of the broker's certificate; or 0 */
	int			next_host;
} SnRabbitLink;

/* broker_rabbitmq_message.c */
extern SnRabbitMessage *sn_rabbit_message_make(const SnRabbitmqConf *conf,
											   const SnRecord *record,
											   char *err, size_t err_len);
extern bool sn_rabbit_fill(const char *name_template, const char *topic,
						   const void *key, size_t key_len, char *out);

/* broker_rabbitmq_link.c */
extern SnRabbitLink *sn_rabbit_link_make(const SnBrokerConfig *config,
										 int messages, int wake, char *err,
										 size_t err_len);
extern bool sn_rabbit_link_start(SnRabbitLink *rabbit, char *err,
								 size_t err_len);
extern bool sn_rabbit_link_end(SnRabbitLink *rabbit, int timeout_ms);
extern void sn_rabbit_link_tell(SnRabbitLink *rabbit);

/* broker_rabbitmq_connect.c */
extern bool sn_rabbit_connect(SnRabbitLink *rabbit);
extern void sn_rabbit_disconnect(SnRabbitLink *rabbit);

/* broker_rabbitmq_answer.c: under the lock, but for sn_rabbit_read and
 * sn_rabbit_error_text */
extern bool sn_rabbit_read(SnRabbitLink *rabbit);
extern void sn_rabbit_report(SnRabbitLink *rabbit, SnRabbitReport *report,
							 SnReportStatus status, const char *error);
extern void sn_rabbit_answer(SnRabbitLink *rabbit, SnRabbitMessage *message,
							 SnReportStatus status, const char *error);
extern void sn_rabbit_lose(SnRabbitLink *rabbit, const char *error);
extern void sn_rabbit_purge(SnRabbitLink *rabbit, bool inflight);
extern void sn_rabbit_note(SnRabbitLink *rabbit, const char *text);
extern void sn_rabbit_error_text(amqp_rpc_reply_t reply, char *out);

/* broker_rabbitmq_topic.c */
extern bool sn_rabbit_make_topics(SnRabbitLink *rabbit);

#endif							/* SN_BROKER_RABBITMQ_H */
