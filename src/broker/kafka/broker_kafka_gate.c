/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * broker_kafka_gate.c
 *		The first record of a producer in a partition is confirmed before the
 *		second is sent.
 *
 * An idempotent producer numbers the records of a partition, and a broker that
 * knows the producer there takes them in sequence only.  A broker that does not
 * know it yet takes any number.  So while several requests are on their way to
 * a partition that is new to the producer, the first may fail (the partition
 * has no leader yet) and a later one be taken: what failed can no longer be
 * stored in its place, and librdkafka, which sees a later number acknowledged,
 * reports it as delivered all the same.
 *
 * Therefore a partition is closed until a record in it has been confirmed,
 * which takes a report with an offset, and a closed partition has one record
 * outstanding at most.  From then on the broker knows the producer and checks
 * the sequence, also after a change of leader, as the followers learn it from
 * the log.  A broker forgets a producer that has been idle for a day
 * (producer.id.expiration.ms), and one that sees its topic deleted at once: a
 * partition is closed again when it was idle for a minute, and when a record
 * of its topic comes back for its topic's sake.
 *
 * Which partition a record goes to is known here before it is sent: the hash
 * is the same as librdkafka's, and the number of partitions is what our
 * partitioner was told last.  It is told that on librdkafka's threads, too,
 * hence the atomic.  As long as no number is known, a topic has one record
 * outstanding at most, and where that went is asked as soon as the number is
 * there: it may be a partition without a leader, and the others must not wait
 * for it.  When the number changes between the question and the
 * send, the record may have gone to a partition that was closed; then the
 * producer has to be replaced.
 *
 * Invariants: the sum of outstanding, and unplaced unless that is counted in
 * its partition by now, is the number of the topic's records that librdkafka
 * has; a partition with confirmed_at = 0 has one of
 * them at most; gates live as long as the producer, since librdkafka's threads
 * look at them.
 */
#include "broker/kafka/broker_kafka.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define BUCKETS 1024
#define CONFIRM_AGAIN_MS 60000

/*
 * Topics that a producer writes before it is replaced by one that knows none:
 * neither librdkafka nor this file forgets one.
 */
#define MAX_TOPICS 16384

typedef struct Partition
{
	int			outstanding;
	int64_t		confirmed_at;	/* 0: closed */
} Partition;

struct SnGate
{
	struct SnGate *next;		/* of the bucket */
	rd_kafka_topic_t *topic;
	int32_t		chosen;			/* by our partitioner, before it tells */
	int32_t		told;			/* partitions, by our partitioner; 0: unknown */
	int32_t		count;			/* told, as we know it */
	int32_t		room;			/* of partitions below; never fewer than count */
	Partition  *partitions;
	int			unplaced;		/* outstanding, sent before the number was known */
	int32_t		placed;			/* where that one went, or SN_UNPLACED */
};

struct SnGates
{
	SnGate	   *buckets[BUCKETS];
	SnGate	   *last;			/* found last */
	int			count;
};

static int32_t tell_and_choose(const rd_kafka_topic_t *topic, const void *key,
							   size_t key_len, int32_t partitions, void *gate,
							   void *message);
static SnGate *make_gate(SnBroker *broker, const char *name);
static bool have_partitions(SnGate *gate);
static void place_first(SnGate *gate);

/* Room for the gates of a producer; NULL: no memory. */
SnGates *
sn_kafka_gates_make(void)
{
	return calloc(1, sizeof(SnGates));
}

/* Lets go of the topics, without which a producer cannot end. */
void
sn_kafka_gates_close(SnGates *gates)
{
	SnGate	   *gate;
	int			i;

	for (i = 0; gates != NULL && i < BUCKETS; i++)
		for (gate = gates->buckets[i]; gate != NULL; gate = gate->next)
			rd_kafka_topic_destroy(gate->topic);
}

/* Frees the gates; the producer is gone. */
void
sn_kafka_gates_free(SnGates *gates)
{
	SnGate	   *gate;
	int			i;

	for (i = 0; gates != NULL && i < BUCKETS; i++)
		while ((gate = gates->buckets[i]) != NULL)
		{
			gates->buckets[i] = gate->next;
			free(gate->partitions);
			free(gate);
		}
	free(gates);
}

/*
 * The gate of a topic, made at first sight, when librdkafka asks for its
 * partitions.  NULL: no such topic can be (rd_kafka_last_error() says why), or
 * the producer has to be replaced.
 */
SnGate *
sn_kafka_gate_find(SnBroker *broker, const char *name)
{
	SnGates    *gates = broker->gates;
	SnGate	   *gate;

	if (gates->last != NULL &&
		strcmp(rd_kafka_topic_name(gates->last->topic), name) == 0)
		return gates->last;
	for (gate = gates->buckets[sn_fnv1a(name) % BUCKETS]; gate != NULL; gate = gate->next)
		if (strcmp(rd_kafka_topic_name(gate->topic), name) == 0)
			return gates->last = gate;
	return gates->last = make_gate(broker, name);
}

/* librdkafka's handle of the topic. */
rd_kafka_topic_t *
sn_kafka_gate_topic(const SnGate *gate)
{
	return gate->topic;
}

/*
 * Which partition a record would go to; SN_UNPLACED when that is not known.
 * False: it has to wait for an answer, or there is no memory.
 */
bool
sn_kafka_gate_admits(SnGate *gate, const SnRecord *record, int *place)
{
	const Partition *partition;

	*place = SN_UNPLACED;
	if (!have_partitions(gate))
		return gate->unplaced == 0;
	if (gate->unplaced > 0 && gate->placed == SN_UNPLACED)
		return false;
	*place = rd_kafka_msg_partitioner_murmur2_random(gate->topic, record->key,
													 record->key_len,
													 gate->count, NULL, NULL);
	partition = &gate->partitions[*place];
	return partition->confirmed_at > 0 || partition->outstanding == 0;
}

/*
 * The record was sent.  False: the number of partitions has changed meanwhile,
 * so that nobody knows which gate it passed.
 */
bool
sn_kafka_gate_sent(SnGate *gate, int place)
{
	Partition  *partition;

	if (place == SN_UNPLACED)
	{
		gate->unplaced++;
		return true;
	}
	partition = &gate->partitions[place];
	if (partition->outstanding++ == 0 &&
		sn_monotonic_ms() - partition->confirmed_at > CONFIRM_AGAIN_MS)
		partition->confirmed_at = 0;
	return __atomic_load_n(&gate->told, __ATOMIC_ACQUIRE) == gate->count;
}

/*
 * The record has its answer.  partition is where it was stored, if that is
 * certain, or -1.
 */
void
sn_kafka_gate_answered(SnGate *gate, int place, int partition, int64_t now)
{
	if (place == SN_UNPLACED)
	{
		gate->unplaced--;
		if (gate->placed != SN_UNPLACED)
			gate->partitions[gate->placed].outstanding--;
		gate->placed = SN_UNPLACED;
	}
	else
		gate->partitions[place].outstanding--;
	if (partition >= 0 && have_partitions(gate) && partition < gate->count)
		gate->partitions[partition].confirmed_at = now;
}

/* The topic may be another one from now on, whose brokers do not know us. */
void
sn_kafka_gate_shut(SnGate *gate)
{
	int			i;

	for (i = 0; i < gate->room; i++)
		gate->partitions[i].confirmed_at = 0;
}

/* librdkafka's own partitioner, which tells us the number of partitions. */
static int32_t
tell_and_choose(const rd_kafka_topic_t *topic, const void *key, size_t key_len,
				int32_t partitions, void *gate, void *message)
{
	SnGate	   *g = gate;
	int32_t		choice = rd_kafka_msg_partitioner_murmur2_random(topic, key,
																 key_len,
																 partitions,
																 gate, message);

	__atomic_store_n(&g->chosen, choice, __ATOMIC_RELAXED);
	__atomic_store_n(&g->told, partitions, __ATOMIC_RELEASE);
	return choice;
}

static SnGate *
make_gate(SnBroker *broker, const char *name)
{
	SnGates    *gates = broker->gates;
	rd_kafka_topic_conf_t *conf;
	SnGate	   *gate;
	SnGate	  **bucket = &gates->buckets[sn_fnv1a(name) % BUCKETS];

	gate = gates->count < MAX_TOPICS ? calloc(1, sizeof(SnGate)) : NULL;
	if (gate == NULL)
	{
		broker->worn_out = true;
		return NULL;
	}
	conf = rd_kafka_default_topic_conf_dup(broker->producer);
	rd_kafka_topic_conf_set_partitioner_cb(conf, tell_and_choose);
	rd_kafka_topic_conf_set_opaque(conf, gate);
	gate->topic = rd_kafka_topic_new(broker->producer, name, conf);
	if (gate->topic == NULL)
	{
		free(gate);				/* the settings are gone by now */
		return NULL;
	}
	gate->placed = SN_UNPLACED;
	gate->next = *bucket;
	*bucket = gate;
	gates->count++;
	return gate;
}

/* Has as many partitions as there are; false when their number is not known. */
static bool
have_partitions(SnGate *gate)
{
	int32_t		told = __atomic_load_n(&gate->told, __ATOMIC_ACQUIRE);
	Partition  *partitions;

	if (told > gate->room)
	{
		partitions = realloc(gate->partitions, told * sizeof(Partition));
		if (partitions == NULL)
			return false;
		memset(&partitions[gate->room], 0,
			   (told - gate->room) * sizeof(Partition));
		gate->partitions = partitions;
		gate->room = told;
	}
	gate->count = told;
	if (told > 0 && gate->unplaced == 1 && gate->placed == SN_UNPLACED)
		place_first(gate);
	return told > 0;
}

/*
 * The number has come: of the topic's records the one sent before that is the
 * only one our partitioner has seen.
 */
static void
place_first(SnGate *gate)
{
	int32_t		chosen = __atomic_load_n(&gate->chosen, __ATOMIC_RELAXED);

	if (chosen < 0 || chosen >= gate->room)
		return;
	gate->placed = chosen;
	gate->partitions[chosen].outstanding++;
}
