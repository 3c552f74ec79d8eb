/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_entry.h
 *		What becomes of an event of the window, and of a lane with it.
 */
#ifndef SN_RELAY_ENTRY_H
#define SN_RELAY_ENTRY_H

#include "relay/relay_core.h"
#include "relay/relay_window.h"

extern void sn_core_note_error(SnRelayCore *core, const char *error);
extern void sn_core_refuse(SnRelayCore *core, SnWindowEntry *entry,
						   const char *error);
extern void sn_core_leave_topic(SnWindowEntry *entry);
extern void sn_core_pass(SnRelayCore *core, SnWindowEntry *entry);
extern void sn_core_done(SnRelayCore *core, SnWindowEntry *entry);

#endif							/* SN_RELAY_ENTRY_H */
