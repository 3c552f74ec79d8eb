/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * address.h
 *	  Which addresses a webhook may be at.
 */
#ifndef SENTINAI_ADDRESS_H
#define SENTINAI_ADDRESS_H

#include <stdbool.h>

#include <sys/socket.h>

extern bool address_is_allowed(const struct sockaddr *address,
							   const char *networks);
extern bool address_text_is_allowed(const char *text, const char *networks);

#endif							/* SENTINAI_ADDRESS_H */
