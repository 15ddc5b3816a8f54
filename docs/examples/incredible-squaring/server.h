/* The HTTP server of the probes: /healthz (the process lives), /readyz (the node has answered),
 * /metrics. One request per connection, a handful of connections, none kept longer than seconds. */
#ifndef SQUARING_SERVER_H
#define SQUARING_SERVER_H

#include "metrics.h"
#include "reason.h"

#include <poll.h>
#include <stdint.h>

#define SERVER_CONNECTIONS 16
#define SERVER_FDS (1 + SERVER_CONNECTIONS)
#define SERVER_TIMEOUT_MS 5000

typedef struct {
  int fd; /* -1: a free slot */
  int64_t deadline;
  size_t in_len, out_len, sent;
  char in[4096];
  char out[METRICS_SIZE + 512];
} server_connection;

typedef struct {
  int listener;
  char address[80]; /* as bound, so that port 0 becomes the real one */
  server_connection connections[SERVER_CONNECTIONS];
} server;

int server_open(server *s, const char *listen, reason *why);

/* Fills what to poll for. fds has SERVER_FDS entries. */
void server_prepare(const server *s, struct pollfd *fds);

/* When the next connection times out, in monotonic milliseconds; INT64_MAX for never. */
int64_t server_deadline(const server *s);

/* Accepts, reads and answers as far as possible without blocking. fds: as server_prepare filled
 * them and poll answered. */
void server_step(server *s, const struct pollfd *fds, int64_t now, const metrics *m);

void server_close(server *s);

#endif
