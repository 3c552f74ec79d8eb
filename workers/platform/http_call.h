/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * http_call.h
 *	  One HTTP call of a webhook.
 */
#ifndef SENTINAI_HTTP_CALL_H
#define SENTINAI_HTTP_CALL_H

#include <stdbool.h>

#include <curl/curl.h>

#include "text.h"

typedef struct HttpCall
{
	/* what is to be called; NULL where it says so */
	const char *method;
	const char *url;
	const char *host;			/* that was allowed */
	const char *port;
	const char *networks;		/* where its address may be, too */
	const char *body;			/* or NULL */
	long		timeout;		/* milliseconds */
	size_t		max_response;	/* bytes */
	struct curl_slist *headers;

	/* what came of it */
	bool		called;			/* what came of it tells of the service */
	bool		retryable;		/* the same may succeed later */
	const char *error;			/* or NULL */
	long		status;			/* 0: none */
	double		duration;		/* milliseconds */
	Text		response;

	/* while it runs */
	CURL	   *easy;
	bool		refused;		/* its address is not allowed */
	bool		too_large;
} HttpCall;

extern bool http_call_add_header(HttpCall *call, const char *name,
								 const char *value);
extern bool http_call_start(HttpCall *call, CURLM *multi);
extern void http_call_end(HttpCall *call, CURLM *multi, CURLcode code);
extern void http_call_free(HttpCall *call, CURLM *multi);

#endif							/* SENTINAI_HTTP_CALL_H */
