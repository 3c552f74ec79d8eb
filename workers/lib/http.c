/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * http.c
 *	  A small HTTP server for GET and HEAD, on a thread of its own.  The only
 *	  file that uses libmicrohttpd.
 *
 * One thread polls for all connections, so a request can neither wait for
 * another one nor run beside it.  A connection is for one request and has a
 * few seconds for it, counted from its beginning: a client that sends a byte
 * now and then does not keep it.  When all are taken they have only one
 * second, so that whoever asks next has an answer soon.
 *
 * Nothing of a request reaches the log.
 */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"
#include "log.h"
#include "stop.h"
#include "value.h"

/* Connections at a time; libmicrohttpd accepts no more until one ends. */
#define MAX_CONNECTIONS 32

/* Time for a request and its answer, and when all connections are taken. */
#define MAX_AGE (5 * SECOND)
#define MAX_AGE_CROWDED (1 * SECOND)

/* How often ages are looked at while there are connections. */
#define SWEEP_INTERVAL 250

/* Memory for one connection: the longest request is somewhat shorter. */
#define CONNECTION_MEMORY ((size_t) 8192)

typedef struct Client
{
	int			fd;				/* -1: free */
	long long	since;
	bool		has_ended;		/* sends no more, and libmicrohttpd knows */
} Client;

struct HttpServer
{
	struct MHD_Daemon *daemon;
	int			epoll_fd;
	int			quit_pipe[2];
	pthread_t	thread;
	HttpAnswer	answer;
	void	   *arg;
	Client		clients[MAX_CONNECTIONS];
	int			client_count;
	char		address[NI_MAXHOST + NI_MAXSERV + 4];
};

/* Sends an answer; the text is the response's from now on. */
static enum MHD_Result
send_answer(struct MHD_Connection *connection, int status, Text *body)
{
	struct MHD_Response *response = body->failed ? NULL :
		MHD_create_response_from_buffer(body->length, body->data,
										MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (response == NULL)
	{
		text_free(body);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type",
							"text/plain; version=0.0.4; charset=utf-8");
	MHD_add_response_header(response, "Connection", "close");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	result = MHD_queue_response(connection, (unsigned int) status, response);
	MHD_destroy_response(response);
	return result;
}

/* A request, when its header has been read. */
static enum MHD_Result
take_request(void *arg, struct MHD_Connection *connection, const char *path,
			 const char *method, const char *version, const char *upload,
			 size_t *upload_size, void **state)
{
	HttpServer *server = arg;
	Text		body = {0};
	int			status = MHD_HTTP_METHOD_NOT_ALLOWED;

	(void) version;
	(void) upload;
	(void) upload_size;
	(void) state;
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		status = server->answer(server->arg, path, &body);
	else
		text_add(&body, "only GET and HEAD\n");
	return send_answer(connection, status, &body);
}

/* A connection begins or ends. */
static void
note_connection(void *arg, struct MHD_Connection *connection, void **state,
				enum MHD_ConnectionNotificationCode code)
{
	HttpServer *server = arg;
	Client	   *client = *state;
	int			i;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED)
	{
		if (client != NULL)
		{
			client->fd = -1;
			server->client_count--;
		}
		return;
	}
	for (i = 0; i < MAX_CONNECTIONS; i++)
		if (server->clients[i].fd == -1)
		{
			client = &server->clients[i];
			client->fd = MHD_get_connection_info(connection,
												 MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
			client->since = clock_ms();
			client->has_ended = false;
			server->client_count++;
			*state = client;
			return;
		}
}

/*
 * Tells libmicrohttpd that a client sends no more.  It asks epoll for edges and
 * takes a short read for the last one, so an end that comes with the last bytes
 * is lost on it: an unfinished request would stay until its time is over.
 * shutdown() makes a new edge, and cuts no answer off.
 */
static void
note_end(Client *client)
{
	char		byte;

	if (client->has_ended ||
		recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
		return;
	client->has_ended = true;
	shutdown(client->fd, SHUT_RD);
}

/* Ends connections that have had their time; libmicrohttpd closes them. */
static void
sweep_connections(HttpServer *server)
{
	long long	since = clock_ms() - (server->client_count == MAX_CONNECTIONS ?
									  MAX_AGE_CROWDED : MAX_AGE);
	int			i;

	for (i = 0; i < MAX_CONNECTIONS; i++)
	{
		Client	   *client = &server->clients[i];

		if (client->fd == -1)
			continue;
		note_end(client);
		if (client->since < since)
			shutdown(client->fd, SHUT_RDWR);
	}
}

/*
 * The server's thread.  When all connections were taken, libmicrohttpd listens
 * again only in the run after the one that has ended some: there is one more
 * after the last of them.
 */
static void *
http_main(void *arg)
{
	HttpServer *server = arg;
	struct pollfd fds[2] = {
		{.fd = server->epoll_fd,.events = POLLIN},
		{.fd = server->quit_pipe[0],.events = POLLIN}
	};
	bool		is_idle = true;

	for (;;)
	{
		MHD_UNSIGNED_LONG_LONG due;
		int			timeout = is_idle ? -1 : SWEEP_INTERVAL;

		if (MHD_get_timeout(server->daemon, &due) == MHD_YES &&
			(timeout == -1 || due < SWEEP_INTERVAL))
			timeout = due < SWEEP_INTERVAL ? (int) due : SWEEP_INTERVAL;
		poll(fds, 2, timeout);
		if (fds[1].revents != 0)
			return NULL;
		is_idle = server->client_count == 0;
		MHD_run(server->daemon);
		sweep_connections(server);
		is_idle = is_idle && server->client_count == 0;
	}
}

/*
 * Takes "ADDRESS:PORT", "[ADDRESS]:PORT" or "PORT" apart.  Without an address
 * only this machine is served; "*" is all of them.
 */
static struct addrinfo *
resolve_address(const char *address, char *error, size_t size)
{
	struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,.ai_socktype = SOCK_STREAM
	};
	struct addrinfo *result = NULL;
	const char *colon = strrchr(address, ':');
	const char *port = colon != NULL ? colon + 1 : address;
	size_t		length = colon != NULL ? (size_t) (colon - address) : 0;
	char		host[NI_MAXHOST] = "127.0.0.1";
	int			failed;

	if (length > 1 && address[0] == '[' && address[length - 1] == ']')
	{
		address++;
		length -= 2;
	}
	if (length >= sizeof(host) || *port == '\0')
	{
		snprintf(error, size, "expected ADDRESS:PORT or PORT");
		return NULL;
	}
	if (length > 0)
		snprintf(host, sizeof(host), "%.*s", (int) length, address);
	failed = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, port, &hints,
						 &result);
	if (failed == 0)
		return result;
	snprintf(error, size, "%s", gai_strerror(failed));
	return NULL;
}

/* Listens; -1 with the reason when that cannot be done. */
static int
listen_at(const struct addrinfo *where, char *error, size_t size)
{
	const int	on = 1;
	int			fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC |
							SOCK_NONBLOCK, 0);

	if (fd >= 0 &&
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		bind(fd, where->ai_addr, where->ai_addrlen) == 0 &&
		listen(fd, MAX_CONNECTIONS) == 0)
		return fd;
	snprintf(error, size, "%s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Keeps the address that is served: a port of 0 has become a real one. */
static bool
keep_address(HttpServer *server, int fd)
{
	struct sockaddr_storage address;
	socklen_t	length = sizeof(address);
	char		host[NI_MAXHOST];
	char		port[NI_MAXSERV];

	if (getsockname(fd, (struct sockaddr *) &address, &length) != 0 ||
		getnameinfo((struct sockaddr *) &address, length, host, sizeof(host),
					port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return false;
	snprintf(server->address, sizeof(server->address),
			 address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return true;
}

/* Starts libmicrohttpd, and our thread for it. */
static bool
start_daemon(HttpServer *server, int fd)
{
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL,
									  take_request, server,
									  MHD_OPTION_LISTEN_SOCKET, fd,
									  MHD_OPTION_CONNECTION_LIMIT,
									  (unsigned int) MAX_CONNECTIONS,
									  MHD_OPTION_CONNECTION_MEMORY_LIMIT,
									  CONNECTION_MEMORY,
									  MHD_OPTION_NOTIFY_CONNECTION,
									  note_connection, server,
									  MHD_OPTION_END);
	if (server->daemon == NULL)
		return false;
	server->epoll_fd = MHD_get_daemon_info(server->daemon,
										   MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	if (pthread_create(&server->thread, NULL, http_main, server) == 0)
		return true;
	MHD_stop_daemon(server->daemon);
	return false;
}

/* Starts a server; NULL and the reason when it cannot. */
static HttpServer *
http_start(const char *address, HttpAnswer answer, void *arg, char *error,
		   size_t size)
{
	struct addrinfo *where = resolve_address(address, error, size);
	HttpServer *server;
	int			fd;
	int			i;

	if (where == NULL)
		return NULL;
	fd = listen_at(where, error, size);
	freeaddrinfo(where);
	if (fd < 0)
		return NULL;
	server = calloc(1, sizeof(*server));
	if (server != NULL && pipe2(server->quit_pipe, O_CLOEXEC) == 0)
	{
		server->answer = answer;
		server->arg = arg;
		for (i = 0; i < MAX_CONNECTIONS; i++)
			server->clients[i].fd = -1;
		if (keep_address(server, fd) && start_daemon(server, fd))
			return server;
		close(server->quit_pipe[0]);
		close(server->quit_pipe[1]);
	}
	snprintf(error, size, "out of memory, files or threads");
	free(server);
	close(fd);
	return NULL;
}

/*
 * Starts a server and says in the log where, or why not (NULL).  Signals must
 * be blocked already.
 */
HttpServer *
http_serve(const char *address, HttpAnswer answer, void *arg)
{
	char		error[256];
	const char *why = error;
	HttpServer *server = http_start(address, answer, arg, error,
									sizeof(error));

	if (server == NULL)
		log_line(LOG_ERROR, "could not serve --http",
				 LOG_S("address", address), LOG_S("error", why), LOG_END);
	else
	{
		const char *where = server->address;

		log_line(LOG_INFO, "serving http", LOG_S("address", where), LOG_END);
	}
	return server;
}

/* Stops and frees a server, or does nothing for NULL. */
void
http_stop(HttpServer *server)
{
	if (server == NULL)
		return;
	close(server->quit_pipe[1]);
	pthread_join(server->thread, NULL);
	MHD_stop_daemon(server->daemon);
	close(server->quit_pipe[0]);
	free(server);
}
