/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * fault.h
 *		Crashes on purpose, for tests.  A normal build has none.
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
 * Standard C: the relay's core uses it, too.
 */
#ifndef SN_FAULT_H
#define SN_FAULT_H

#ifdef SN_FAULTS
extern void sn_fault(const char *file);
#define SN_FAULT(name)		sn_fault("sentinai_fault." #name)
#else
#define SN_FAULT(name)		((void) 0)
#endif

#endif							/* SN_FAULT_H */
