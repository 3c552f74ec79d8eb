/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_answer.c
 *		The relay's core: what the broker answers.
 */
#include "base/fault.h"
#include "relay/relay_state.h"

#define MAX_REPORTS		512
#define DRAIN_MS		1000

/* acknowledged: the broker has stored an event */
static void
acknowledged(SnRelayCore *core, SnWindowEntry *entry, int64_t now_ms)
{
	SnTopic    *topic = entry->topic;

	entry->state = SN_ENTRY_DONE;
	core->stats.acked++;
	core->acked_at = now_ms;
	SN_FAULT(relay_ack);
	sn_core_topic_taken(core, topic, now_ms);
	sn_core_done(core, entry);
}

/* refused_report: the broker refuses an event, or all that came with it */
static void
refused_report(SnRelayCore *core, SnWindowEntry *entry,
			   const SnBrokerReport *report)
{
	if (report->alone)
	{
		sn_core_refuse(core, entry, report->error);
		core->want_isolate = false;
		core->recover |= core->isolate;
		return;
	}
	core->want_isolate = true;
	entry->state = SN_ENTRY_READY;
	sn_core_note_error(core, report->error);
	core->recover = true;
}

/* record_report: the answer to send() */
static void
record_report(SnRelayCore *core, const SnBrokerReport *report, int64_t now_ms)
{
	SnWindowEntry *entry = &core->window.entries[report->opaque];

	if (report->opaque >= (uint64_t) core->window.nentries ||
		entry->state != SN_ENTRY_SENT)
		return;
	core->inflight--;
	entry->topic->sent--;
	if (report->status == SN_REPORT_OK ||
		report->status == SN_REPORT_REFUSED ||
		report->status == SN_REPORT_NO_TOPIC)
		sn_breaker_success(&core->breaker); /* it answers: it is well */
	switch (report->status)
	{
		case SN_REPORT_OK:
			acknowledged(core, entry, now_ms);
			break;
		case SN_REPORT_REFUSED:
			refused_report(core, entry, report);
			break;
		case SN_REPORT_NO_TOPIC:
			entry->state = SN_ENTRY_READY;
			sn_core_note_error(core, report->error);
			if (entry->parked && entry->topic->state == SN_TOPIC_WAITING)
				sn_core_release(core, entry);
			else
				sn_core_hold(core, entry->topic, report->error, now_ms);
			break;
		default:
			entry->state = SN_ENTRY_READY;
			if (report->status != SN_REPORT_RETRY)
				sn_core_note_error(core, report->error);
			core->recover = true;
			break;
	}
}

/* poll_broker: treat what the broker answers in a time */
static void
poll_broker(SnRelayCore *core, int timeout_ms, int64_t now_ms)
{
	SnBrokerReport reports[MAX_REPORTS];
	bool		any = false;
	int			n;

	do
	{
		int			i;

		n = core->config.provider->poll(core->broker, timeout_ms, reports,
										MAX_REPORTS);
		for (i = 0; i < n; i++)
		{
			if (reports[i].kind == SN_REPORT_TOPIC)
				sn_core_topic_report(core, &reports[i], now_ms);
			else
				record_report(core, &reports[i], now_ms);
		}
		any |= n > 0;
		timeout_ms = 0;
	} while (n == MAX_REPORTS);
	if (any && sn_later_forget(&core->later))
		core->window.cursor = core->window.head;
}

/* sn_core_take_reports: treat what the broker has answered */
void
sn_core_take_reports(SnRelayCore *core, int64_t now_ms)
{
	poll_broker(core, 0, now_ms);
}

/* sn_core_drain: wait until everything sent has its answer, for a while */
void
sn_core_drain(SnRelayCore *core, int64_t now_ms)
{
	int			i;

	for (i = 0; i < DRAIN_MS / 50 && core->inflight > 0; i++)
		poll_broker(core, 50, now_ms);
}
