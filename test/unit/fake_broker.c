/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * fake_broker.c
 *		A broker made of arrays, and a relay's core over it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_broker.h"

SnBroker	fake;
int			read_back;
double		events_per_second;
double		bytes_per_second;

/* add_report: what the next poll() says */
void
add_report(SnReportKind kind, SnReportStatus status, bool alone, uint64_t op)
{
	SnBrokerReport *r = &fake.reports[fake.nreports++];

	memset(r, 0, sizeof(*r));
	r->kind = kind;
	r->status = status;
	r->alone = alone;
	r->opaque = op;
	r->error = status == SN_REPORT_OK ? NULL : "fake error";
}

static SnBroker *
fake_open(const SnBrokerConfig *config, char *err, size_t err_len)
{
	return &fake;
}

static SnSendResult
fake_send(SnBroker *b, const SnRecord *record, char *err, size_t err_len)
{
	int			i;

	snprintf(err, err_len, "fake error");
	if (b->stopped)
		return SN_SEND_STOPPED;
	if (b->queued >= b->full_after)
		return SN_SEND_FULL;
	if (b->no_topic && strcmp(record->topic, b->no_topic) == 0)
		return SN_SEND_NO_TOPIC;
	b->ids[b->queued][0] = '\0';
	for (i = 0; i < record->nheaders; i++)
		if (strcmp(record->headers[i].name, "id") == 0 ||
			strcmp(record->headers[i].name, "ce_id") == 0)
			snprintf(b->ids[b->queued], 40, "%.*s",
					 (int) record->headers[i].value_len,
					 record->headers[i].value);
	assert_true(b->ids[b->queued][0] != '\0');
	if (b->refuse_id && strcmp(b->ids[b->queued], b->refuse_id) == 0)
		return SN_SEND_REFUSED;
	if (b->later_id && strcmp(b->ids[b->queued], b->later_id) == 0)
		return SN_SEND_LATER;
	b->queue[b->queued++] = record->opaque;
	return SN_SEND_OK;
}

static int
fake_poll(SnBroker *b, int timeout_ms, SnBrokerReport *reports, int max)
{
	int			n = b->nreports < max ? b->nreports : max;

	memcpy(reports, b->reports, n * sizeof(SnBrokerReport));
	memmove(b->reports, b->reports + n,
			(b->nreports - n) * sizeof(SnBrokerReport));
	b->nreports -= n;
	return n;
}

static int
fake_wake_fd(const SnBroker *b)
{
	return 0;
}

/* answer: the broker treats the first n of its queue */
void
answer(int n, SnReportStatus status, bool alone)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if (status == SN_REPORT_OK)
			strcpy(fake.stored[fake.nstored++], fake.ids[i]);
		add_report(SN_REPORT_RECORD, status, alone, fake.queue[i]);
	}
	memmove(fake.queue, fake.queue + n, (fake.queued - n) * sizeof(uint64_t));
	memmove(fake.ids, fake.ids + n, (fake.queued - n) * 40);
	fake.queued -= n;
}

static void
fake_purge(SnBroker *b, bool inflight)
{
	if (inflight)
		answer(b->queued, SN_REPORT_RETRY, false);
}

static bool
fake_restart(SnBroker *b, bool isolate, int timeout_ms, char *err,
			 size_t err_len)
{
	b->restarts++;
	b->isolate = isolate;
	b->stopped = false;
	return true;
}

static bool
fake_create_topic(SnBroker *b, const char *topic, int partitions,
				  int replication, uint64_t opaque, char *err, size_t err_len)
{
	b->topics_asked++;
	if (b->topics_silent)
		return true;
	add_report(SN_REPORT_TOPIC, b->topics_away ? SN_REPORT_RETRY :
			   b->refuse_topic && strcmp(topic, b->refuse_topic) == 0 ?
			   SN_REPORT_REFUSED : SN_REPORT_OK, false, opaque);
	return true;
}

static void
fake_health(SnBroker *b, SnBrokerHealth *health)
{
	memset(health, 0, sizeof(*health));
	health->stopped = b->stopped;
	health->failures = b->failures;
	health->stalled_ms = b->stalled_ms;
	health->last_error = "fake error";
	health->trouble = "";
}

static bool
fake_close(SnBroker *b, int timeout_ms)
{
	return true;
}

static SnTailResult
fake_tail(SnBroker *b, const SnTail *tail, char *err, size_t err_len)
{
	int			i;

	b->tails++;
	snprintf(err, err_len, "fake error");
	if (b->tail_of != NULL && strcmp(tail->topic, b->tail_of) != 0)
		return b->tail;
	for (i = 0; i < b->nstored && b->tail != SN_TAIL_AWAY; i++)
		tail->take(tail->arg, b->stored[i], strlen(b->stored[i]));
	return b->tail;
}

static const SnBrokerProvider provider = {
	.abi = SN_BROKER_ABI,
	.name = "fake",
	.open = fake_open,
	.send = fake_send,
	.poll = fake_poll,
	.wake_fd = fake_wake_fd,
	.purge = fake_purge,
	.restart = fake_restart,
	.create_topic = fake_create_topic,
	.tail = fake_tail,
	.health = fake_health,
	.close = fake_close,
};

/* topic_changed: a topic cannot be written, or can be again */
static void
topic_changed(const char *topic, const char *error)
{
	fake.topics_told += error != NULL;
}

/* open_core: a core over an empty broker */
SnRelayCore *
open_core(int max_events, size_t max_bytes)
{
	return open_core_with(max_events, max_bytes, NULL);
}

/* open_core_with: the same with a topic for control events */
SnRelayCore *
open_core_with(int max_events, size_t max_bytes, const char *control_topic)
{
	SnRelayCoreConfig config = {0};
	char		err[256];
	SnRelayCore *core;

	memset(&fake, 0, sizeof(fake));
	fake.full_after = MAX_LOG;
	config.provider = &provider;
	config.record.format = SN_RECORD_CLOUDEVENTS;
	config.record.topic_template = "t.{aggregate_type}";
	config.record.control_topic = control_topic;
	config.record.database = "db";
	config.lanes = LANES;
	config.max_events = max_events;
	config.max_bytes = max_bytes;
	config.tail = read_back;
	config.topic_changed = topic_changed;
	config.topic_partitions = 3;
	config.topic_replication = 1;
	config.breaker_failures = 3;
	config.breaker_open_ms = 1000;
	config.events_per_second = events_per_second;
	config.bytes_per_second = bytes_per_second;
	core = sn_relay_core_open(&config, err, sizeof(err));
	assert_non_null(core);
	return core;
}

/* id_of: the event id with a number; valid until the next call */
const char *
id_of(int n)
{
	static char id[40];

	snprintf(id, sizeof(id), "00000000-0000-7000-8000-%012d", n);
	return id;
}

/* event_of: an event of the key k */
SnRecordEvent
event_of(int n, const char *aggregate_type)
{
	SnRecordEvent event = {0};

	event.event_id = id_of(n);
	event.event_type = "E";
	event.tenant_id = "T";
	event.aggregate_type = aggregate_type;
	event.aggregate_id = "k";
	event.schema_version = 1;
	event.payload = "{}";
	event.payload_len = 2;
	return event;
}

/* push_of: an event of a key, and of the topic t.<aggregate_type> */
void
push_of(SnRelayCore *core, int n, int lane, const char *aggregate_type,
		const char *aggregate_id)
{
	SnRecordEvent event = event_of(n, aggregate_type);

	event.aggregate_id = aggregate_id;
	assert_true(sn_relay_core_push(core, lane, n + 1, &event, NULL));
}

/* push_to, push: the same of the key k, and of the topic t.a */
void
push_to(SnRelayCore *core, int n, int lane, const char *aggregate_type)
{
	push_of(core, n, lane, aggregate_type, "k");
}

void
push(SnRelayCore *core, int n, int lane)
{
	push_to(core, n, lane, "a");
}

/* push_first: the events 1 to n, in lane 0 */
void
push_first(SnRelayCore *core, int n)
{
	int			i;

	for (i = 1; i <= n; i++)
		push(core, i, 0);
}

/* next_refused: the next news is that an event is refused */
bool
next_refused(SnRelayCore *core, SnNews *news)
{
	return sn_relay_core_news(core, UINT64_MAX, news) &&
		news->kind == SN_NEWS_REFUSED;
}

/* turns: some turns of the core, all at one time */
void
turns(SnRelayCore *core, int n, int64_t now)
{
	while (n-- > 0)
		(void) sn_relay_core_turn(core, now);
}

/* assert_stored: the broker has these events, in this order */
void
assert_stored(int n, ...)
{
	va_list		ap;
	int			i;

	assert_int_equal(fake.nstored, n);
	va_start(ap, n);
	for (i = 0; i < n; i++)
		assert_string_equal(fake.stored[i], id_of(va_arg(ap, int)));
	va_end(ap);
}
