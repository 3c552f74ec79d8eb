/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * alert.h
 *		Alerts about the growth of dead letters.
 */
#ifndef SN_ALERT_H
#define SN_ALERT_H

extern bool sn_alert_step(void);

#endif							/* SN_ALERT_H */
