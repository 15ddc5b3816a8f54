/* One HTTP exchange at a time with one server, without blocking (but for name resolution).
 *
 * The caller polls `fd` for http_client_events and calls http_client_step when something happened
 * or the deadline passed. The connection is kept for the next exchange where the server allows. */
#ifndef SQUARING_HTTP_CLIENT_H
#define SQUARING_HTTP_CLIENT_H

#include "http_response.h"
#include "reason.h"
#include "url.h"

#include <stdint.h>
#include <sys/socket.h>

#define CLIENT_ADDRESSES 8
#define CLIENT_TIMEOUT_MS 10000

typedef enum { CLIENT_PENDING, CLIENT_DONE, CLIENT_FAILED } client_result;

typedef struct {
  const url *to; /* borrowed */
  int fd;        /* -1: not connected */
  enum { CLIENT_IDLE, CLIENT_CONNECTING, CLIENT_SENDING, CLIENT_RECEIVING } state;
  bool reused;          /* the connection has served an exchange before this one */
  uint64_t connections; /* tried since the start */
  int64_t deadline;     /* of the exchange, monotonic milliseconds; meaningless when idle */

  struct {
    struct sockaddr_storage name;
    socklen_t len;
  } addresses[CLIENT_ADDRESSES];
  int address_count, next_address;

  const char *request; /* borrowed for the exchange */
  size_t request_len, sent;
  http_response response; /* valid after CLIENT_DONE until the next start */
} http_client;

void http_client_init(http_client *c, const url *to);

/* Begins an exchange; the client must be idle. CLIENT_FAILED fills *why. */
client_result http_client_start(http_client *c, const char *request, size_t len, int64_t now,
                                reason *why);

/* What to poll `fd` for; 0 when idle. */
short http_client_events(const http_client *c);

/* Goes on with the exchange. revents: what poll said, 0 where only time passed. */
client_result http_client_step(http_client *c, short revents, int64_t now, reason *why);

void http_client_close(http_client *c);

#endif
