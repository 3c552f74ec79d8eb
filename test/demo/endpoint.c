/*-------------------------------------------------------------------------
 *
 * endpoint.c
 *	  The services that the tools of ./quickstart platform call: a desk, a
 *	  hotel and a booking system, of which some fail.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * POST /PATH with an Idempotency-Key.  What it answers follows from the path
 * and a hash of the key, so that a run can be proved: see answer_to().  It
 * keeps its promise about the key: who has had a success gets the same one
 * again, and nothing is done twice.
 *
 * Notes, one line per call: path, key, number of the call with this key,
 * status, and whether something was done.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <netinet/in.h>
#include <search.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/hash.h"

#define MAX_KEYS		200000
#define MAX_KEY_LEN		255		/* as services have it */
#define IDLE_SECONDS	30
#define STATUS_REFUSED	422		/* its name in libmicrohttpd has changed */

/* What is known of a key, by path. */
typedef struct Call
{
	int			calls;
	bool		done;
} Call;

static FILE *notes;

/* Say what went wrong and end. */
static void
die(const char *what, const char *why)
{
	fprintf(stderr, "endpoint: %s: %s\n", what, why);
	exit(1);
}

/* The entry of a path and key; made when it is new. */
static Call *
find_call(const char *path, const char *key)
{
	char		name[2 * MAX_KEY_LEN + 2];
	ENTRY		entry = {.key = name};
	ENTRY	   *found;

	snprintf(name, sizeof(name), "%s %s", path, key);
	found = hsearch(entry, FIND);
	if (found == NULL)
	{
		entry.key = strdup(name);
		entry.data = calloc(1, sizeof(Call));
		if (entry.key == NULL || entry.data == NULL)
			die("no more calls", "out of memory");
		found = hsearch(entry, ENTER);
	}
	if (found == NULL)
		die("no more calls", strerror(errno));
	return found->data;
}

/*
 * The status of a call.  Of twenty keys one finds the service away the first
 * time, and of five of the booking system's one is refused for good.
 */
static unsigned int
answer_to(const char *path, const char *key, const Call *call)
{
	unsigned int luck = (unsigned int) sn_murmur2(key, strlen(key)) % 20;

	if (call->done)
		return MHD_HTTP_OK;
	if (luck == 0 && call->calls == 1)
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	if (luck % 5 == 1 && strcmp(path, "/rebook") == 0)
		return STATUS_REFUSED;
	return MHD_HTTP_OK;
}

/* Answer with a status and a JSON text. */
static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned int status, const char *json)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(json), (void *) json,
										MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", "application/json");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

/* One request, when all of it is there.  libmicrohttpd calls from one thread. */
static enum MHD_Result
handle_request(void *unused, struct MHD_Connection *connection,
			   const char *path, const char *method, const char *version,
			   const char *body, size_t *body_len, void **state)
{
	static char begun;
	const char *key;
	unsigned int status;
	Call	   *call;
	char		json[128];

	(void) unused;
	(void) version;
	(void) body;
	if (*state == NULL)
	{
		*state = &begun;
		return MHD_YES;
	}
	if (*body_len > 0)
	{
		*body_len = 0;
		return MHD_YES;
	}
	key = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
									  "Idempotency-Key");
	if (strcmp(method, "POST") != 0 || key == NULL ||
		strlen(key) > MAX_KEY_LEN || strlen(path) > MAX_KEY_LEN)
		return answer(connection, MHD_HTTP_BAD_REQUEST, "{}");
	call = find_call(path, key);
	call->calls++;
	status = answer_to(path, key, call);
	fprintf(notes, "%s\t%s\t%d\t%u\t%s\n", path, key, call->calls, status,
			status == MHD_HTTP_OK && !call->done ? "done" : "nothing");
	fflush(notes);
	call->done |= status == MHD_HTTP_OK;
	snprintf(json, sizeof(json), "{\"accepted\": %s, \"reference\": \"%08x\"}",
			 status == MHD_HTTP_OK ? "true" : "false",
			 (unsigned int) sn_murmur2(key, strlen(key)));
	return answer(connection, status, json);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	struct MHD_Daemon *daemon;
	sigset_t	signals;
	int			number;
	FILE	   *port;

	if (argc != 3)
	{
		fprintf(stderr, "Usage: endpoint PORT_FILE NOTES\n"
				"Listens on a free port of 127.0.0.1 and writes it down.\n");
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	notes = fopen(argv[2], "a");
	if (notes == NULL)
		die(argv[2], strerror(errno));
	if (hcreate(MAX_KEYS) == 0)
		die("no memory for the calls", strerror(errno));

	daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL,
							  handle_request, NULL, MHD_OPTION_SOCK_ADDR,
							  &address, MHD_OPTION_CONNECTION_TIMEOUT,
							  (unsigned int) IDLE_SECONDS, MHD_OPTION_END);
	if (daemon == NULL)
		die("could not listen", strerror(errno));
	port = fopen(argv[1], "w");
	if (port == NULL || fprintf(port, "%d\n", MHD_get_daemon_info(daemon,
		MHD_DAEMON_INFO_BIND_PORT)->port) < 0 || fclose(port) != 0)
		die(argv[1], strerror(errno));

	sigwait(&signals, &number);
	MHD_stop_daemon(daemon);
	return fclose(notes) == 0 ? 0 : 1;
}
