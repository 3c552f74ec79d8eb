/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * http_call.c
 *	  One HTTP call of a webhook.
 *
 * The database has said which host is allowed.  Here it is made sure that the
 * call goes there and nowhere else:
 *
 * - libcurl's reading of the URL has to be the same host and port;
 * - the address is judged when a connection is about to be made, and again
 *   before a request goes out on one, which may be an earlier call's: so a
 *   name that leads elsewhere by now leads nowhere;
 * - redirects are not followed, no proxy is used, whatever the environment
 *   says, and no protocol but HTTP is spoken;
 * - what is read is bounded in time and in size, and not unpacked.
 */
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>

#include "address.h"
#include "http_call.h"

#ifndef SENTINAI_VERSION
#define SENTINAI_VERSION "unknown"
#endif

/* Can this be in a header, as one line? */
static bool
is_header_text(const char *text)
{
	const unsigned char *p = (const unsigned char *) text;

	for (; *p != '\0'; p++)
		if (*p < 0x20 || *p == 0x7f)
			return false;
	return true;
}

/* Adds a header; false when it is none, or there is no memory. */
bool
http_call_add_header(HttpCall *call, const char *name, const char *value)
{
	Text		line = {0};
	struct curl_slist *longer = NULL;

	text_add(&line, name);
	/* libcurl sends a header without a value when it ends so */
	text_add(&line, *value != '\0' ? ": " : ";");
	text_add(&line, value);
	if (!line.failed && is_header_text(line.data))
		longer = curl_slist_append(call->headers, line.data);
	if (line.data != NULL)
		explicit_bzero(line.data, line.length);
	text_free(&line);
	if (longer == NULL)
		return false;
	call->headers = longer;
	return true;
}

/* Keeps what comes, as far as it may. */
static size_t
receive(char *data, size_t size, size_t count, void *arg)
{
	HttpCall   *call = arg;
	size_t		length = size * count;

	if (length > call->max_response - call->response.length)
	{
		call->too_large = true;
		return 0;
	}
	text_add_bytes(&call->response, data, length);
	return call->response.failed ? 0 : length;
}

/* Makes the socket of a connection, if its address is allowed. */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpCall   *call = arg;

	(void) purpose;
	if (!address_is_allowed(&address->addr, call->networks))
	{
		call->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC,
				  address->protocol);
}

/* Judges the connection that the request is about to go out on. */
static int
before_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	HttpCall   *call = arg;

	(void) local_ip;
	(void) port;
	(void) local_port;
	if (!address_text_is_allowed(ip, call->networks))
	{
		call->refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	return CURL_PREREQFUNC_OK;
}

/* Is a part of the URL, as libcurl reads it, this text? */
static bool
has_part(CURLU *url, CURLUPart part, unsigned int flags, const char *expected)
{
	char	   *text = NULL;
	bool		same;

	if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
		return false;
	same = strcmp(text, expected) == 0;
	curl_free(text);
	return same;
}

/* Does libcurl read the URL as the database did? */
static bool
is_same_host(const HttpCall *call)
{
	CURLU	   *url = curl_url();
	char	   *user = NULL;
	bool		same = url != NULL &&
		curl_url_set(url, CURLUPART_URL, call->url, CURLU_DISALLOW_USER) ==
		CURLUE_OK &&
		has_part(url, CURLUPART_HOST, 0, call->host) &&
		has_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, call->port) &&
		curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_NO_USER;

	curl_free(user);
	curl_url_cleanup(url);
	return same;
}

/* Sets what all calls have alike. */
static CURLcode
set_rules(HttpCall *call)
{
	CURL	   *easy = call->easy;
	CURLcode	code = CURLE_OK;

#define SET(option, value) \
	(code = code != CURLE_OK ? code : curl_easy_setopt(easy, option, value))

	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_UNRESTRICTED_AUTH, 0L);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, call);
	SET(CURLOPT_PREREQFUNCTION, before_request);
	SET(CURLOPT_PREREQDATA, call);
	SET(CURLOPT_WRITEFUNCTION, receive);
	SET(CURLOPT_WRITEDATA, call);
	SET(CURLOPT_TIMEOUT_MS, call->timeout);
	SET(CURLOPT_CONNECTTIMEOUT_MS, call->timeout);
	SET(CURLOPT_USERAGENT, "sentinai-tool/" SENTINAI_VERSION);
	return code;
}

/* Sets what this call is. */
static CURLcode
set_request(HttpCall *call)
{
	CURL	   *easy = call->easy;
	CURLcode	code = CURLE_OK;

	SET(CURLOPT_PRIVATE, call);
	SET(CURLOPT_URL, call->url);
	SET(CURLOPT_HTTPHEADER, call->headers);
	if (call->body != NULL)
	{
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) strlen(call->body));
		SET(CURLOPT_POSTFIELDS, call->body);
	}
	SET(CURLOPT_CUSTOMREQUEST, call->method);
	return code;
#undef SET
}

/* Ends a call before it has begun. */
static bool
refuse(HttpCall *call, const char *error, bool retryable)
{
	call->error = error;
	call->retryable = retryable;
	return false;
}

/* Starts a call; false when it has an error instead. */
bool
http_call_start(HttpCall *call, CURLM *multi)
{
	if (!is_same_host(call))
		return refuse(call, "the URL is not one of the host that is allowed",
					  false);
	call->easy = curl_easy_init();
	if (call->easy == NULL || set_rules(call) != CURLE_OK ||
		set_request(call) != CURLE_OK ||
		curl_multi_add_handle(multi, call->easy) != CURLM_OK)
		return refuse(call, "the call could not be made", true);
	return true;
}

/* What a failed call says; libcurl's own texts may name addresses. */
static const char *
describe(CURLcode code)
{
	switch (code)
	{
		case CURLE_OPERATION_TIMEDOUT:
			return "no answer in time";
		case CURLE_COULDNT_RESOLVE_HOST:
			return "the name of the host is not known";
		case CURLE_COULDNT_CONNECT:
			return "no connection";
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_CACERT_BADFILE:
			return "no connection by TLS";
		default:
			return "the connection failed";
	}
}

/* The call has ended: takes what came of it. */
void
http_call_end(HttpCall *call, CURLM *multi, CURLcode code)
{
	curl_off_t	microseconds = 0;

	curl_easy_getinfo(call->easy, CURLINFO_TOTAL_TIME_T, &microseconds);
	call->duration = (double) microseconds / 1000;
	if (code == CURLE_OK || call->too_large)
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->status);
	/* of several addresses of a host one may be refused, and another answer */
	if (code == CURLE_OK)
		call->refused = false;
	if (call->refused)
		refuse(call, "the address of the host is not allowed", false);
	else if (call->too_large)
		refuse(call, "the response is too large", false);
	else if (code != CURLE_OK)
		refuse(call, describe(code), true);
	/* nothing but a refusal says nothing of the service */
	call->called = !call->refused;
	curl_multi_remove_handle(multi, call->easy);
	curl_easy_cleanup(call->easy);
	call->easy = NULL;
}

/* Frees what a call has, and ends it if it runs. */
void
http_call_free(HttpCall *call, CURLM *multi)
{
	struct curl_slist *header;

	if (call->easy != NULL)
	{
		curl_multi_remove_handle(multi, call->easy);
		curl_easy_cleanup(call->easy);
	}
	for (header = call->headers; header != NULL; header = header->next)
		explicit_bzero(header->data, strlen(header->data));
	curl_slist_free_all(call->headers);
	text_free(&call->response);
	memset(call, 0, sizeof(*call));
}
