/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * http.h
 *	  A small HTTP server for GET and HEAD, on a thread of its own.
 */
#ifndef SENTINAI_HTTP_H
#define SENTINAI_HTTP_H

#include "text.h"

#define HTTP_OK 200
#define HTTP_NOT_FOUND 404
#define HTTP_UNAVAILABLE 503

/* What a program answers to any other path. */
#define HTTP_PATHS "there are /livez, /readyz and /metrics\n"

typedef struct HttpServer HttpServer;

/*
 * Writes the answer to a request for a path, and returns its status.  It is
 * called on the server's thread and must not block.
 */
typedef int (*HttpAnswer) (void *arg, const char *path, Text *body);

extern HttpServer *http_serve(const char *address, HttpAnswer answer,
							  void *arg);
extern void http_stop(HttpServer *server);

#endif							/* SENTINAI_HTTP_H */
