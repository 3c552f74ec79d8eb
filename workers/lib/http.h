/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * http.h
 *	  A small HTTP server for GET and HEAD, on a thread of its own.
 */
#ifndef SENTINAI_HTTP_H
#define SENTINAI_HTTP_H

#include <stddef.h>

#include "text.h"

#define HTTP_OK 200
#define HTTP_NOT_FOUND 404
#define HTTP_UNAVAILABLE 503

typedef struct HttpServer HttpServer;

/*
 * Writes the answer to a request for a path, and returns its status.  It is
 * called on the server's thread and must not block.
 */
typedef int (*HttpAnswer) (void *arg, const char *path, Text *body);

extern HttpServer *http_start(const char *address, HttpAnswer answer,
							  void *arg, char *error, size_t size);
extern const char *http_address(const HttpServer *server);
extern void http_stop(HttpServer *server);

#endif							/* SENTINAI_HTTP_H */
