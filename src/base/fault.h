/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * fault.h
 *		Bugs and crashes on purpose, for tests.  A normal build has neither.
 *
 * SN_BUG(name) is a constant: 1 in a build by `make BUG=name`, otherwise 0, and
 * the compiler leaves out what depends on it.  The history checker has to find
 * each of the bugs (test/history/bugs.py).
 *
 * SN_FAULT(name) is a point where a process of a build by `make FAULTS=1` dies
 * as if by kill -9, once, when there is a file sentinai_fault.NAME in the data
 * directory; otherwise it is nothing.
 *
 *	  partition_create	a partition is made, not attached yet
 *	  partition_drop	a partition is dropped, not committed yet
 *	  round_switch		the rounds' other half takes rows from now on
 *	  journal_switch	the same for the lanes'
 *	  journal_carry		a lane is carried over, not committed yet
 *	  journal_truncate	the old half is empty, not committed yet
 *	  round_before		a round is written, not committed yet
 *	  round_after		a round is committed, nobody knows of it yet
 *	  claim, complete, fail, extend, release
 *						done, not committed yet
 *	  relay_send		events are read and flushed, not sent yet
 *	  relay_ack			the broker has answered, nothing is noted yet
 *	  relay_mark		positions are noted, not committed yet
 *
 * Standard C: the relay's core and the agents use it, too.
 */
#ifndef SN_FAULT_H
#define SN_FAULT_H

typedef enum SnBug
{
	SN_BUG_none,
	SN_BUG_no_fence,			/* a token is good as long as anybody has the
								 * lanes */
	SN_BUG_id_cursor,			/* a round begins at the number where the last
								 * one ended, whoever was still running */
	SN_BUG_mark_before_ack,		/* the relay notes what it has sent */
	SN_BUG_resend,				/* the relay sends again from the delivery
								 * report, of records that time out */
	SN_BUG_lease_clock,			/* leases end by a clock that may be set */
	SN_BUG_dead_uncounted,		/* a dead letter does not count in its lane */
	SN_BUG_exit_zero,			/* an agent ends with 0, its batch in the air */
	SN_BUG_no_flush,			/* the relay sends what is not on disk */
	SN_BUG_trust_implicit_ack,	/* what librdkafka takes for delivered is; the
								 * first records of a producer may overlap */
	SN_BUG_slices_lost			/* slices do not survive a crash, rounds do */
} SnBug;

#ifndef SN_BUILT_BUG
#define SN_BUILT_BUG none
#endif
#define SN_BUG_PASTE(name)	SN_BUG_##name
#define SN_BUG_OF(name)		SN_BUG_PASTE(name)
#define SN_BUG(name)		((int) SN_BUG_OF(SN_BUILT_BUG) == (int) SN_BUG_##name)

#ifdef SN_FAULTS
extern void sn_fault(const char *file);
#define SN_FAULT(name)		sn_fault("sentinai_fault." #name)
#else
#define SN_FAULT(name)		((void) 0)
#endif

#endif							/* SN_FAULT_H */
