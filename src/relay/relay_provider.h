/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * relay_provider.h
 *		Loads the library that talks to the broker.
 */
#ifndef SN_RELAY_PROVIDER_H
#define SN_RELAY_PROVIDER_H

#include "broker/broker.h"

extern const SnBrokerProvider *sn_relay_provider(void);

#endif							/* SN_RELAY_PROVIDER_H */
