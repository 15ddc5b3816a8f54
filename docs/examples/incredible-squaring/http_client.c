#include "http_client.h"

#include "stop.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

void http_client_init(http_client *c, const url *to) {
  memset(c, 0, sizeof *c);
  c->to = to;
  c->fd = -1;
}

static void disconnect(http_client *c) {
  if (c->fd >= 0)
    close(c->fd);
  c->fd = -1;
}

void http_client_close(http_client *c) {
  disconnect(c);
  c->state = CLIENT_IDLE;
}

static client_result failed(http_client *c) {
  http_client_close(c);
  return CLIENT_FAILED;
}

/* Names are resolved anew for each connection: a node's address may change while we run. */
static int resolve(http_client *c, reason *why) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
  stop_at_once(true);
  int error = getaddrinfo(c->to->host, c->to->port, &hints, &list);
  stop_at_once(false);
  if (error != 0)
    return because(why, "cannot resolve `%s`: %s", c->to->host, gai_strerror(error));
  c->address_count = c->next_address = 0;
  for (struct addrinfo *at = list; at && c->address_count < CLIENT_ADDRESSES; at = at->ai_next) {
    memcpy(&c->addresses[c->address_count].name, at->ai_addr, at->ai_addrlen);
    c->addresses[c->address_count++].len = at->ai_addrlen;
  }
  freeaddrinfo(list);
  return 0;
}

/* Tries the addresses in turn until one connects or is under way. *why tells of the last one. */
static client_result connect_next(http_client *c, reason *why) {
  while (c->next_address < c->address_count) {
    struct sockaddr *name = (struct sockaddr *)&c->addresses[c->next_address].name;
    socklen_t len = c->addresses[c->next_address++].len;
    c->fd = socket(name->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd >= 0 && (connect(c->fd, name, len) == 0 || errno == EINPROGRESS)) {
      c->state = CLIENT_CONNECTING;
      return CLIENT_PENDING;
    }
    because_errno(why, "cannot connect to `%s`", c->to->authority);
    disconnect(c);
  }
  return failed(c);
}

static void begin(http_client *c) {
  c->sent = 0;
  http_response_begin(&c->response);
}

static client_result open_connection(http_client *c, reason *why) {
  begin(c);
  c->reused = false;
  c->connections++;
  return resolve(c, why) == 0 ? connect_next(c, why) : failed(c);
}

client_result http_client_start(http_client *c, const char *request, size_t len, int64_t now,
                                reason *why) {
  c->request = request;
  c->request_len = len;
  c->deadline = now + CLIENT_TIMEOUT_MS;
  if (c->fd < 0)
    return open_connection(c, why);
  begin(c);
  c->reused = true;
  c->state = CLIENT_SENDING;
  return CLIENT_PENDING;
}

short http_client_events(const http_client *c) {
  switch (c->state) {
  case CLIENT_IDLE:
    return 0;
  case CLIENT_RECEIVING:
    return POLLIN;
  default:
    return POLLOUT;
  }
}

static client_result finish_connect(http_client *c, reason *why) {
  int error = 0;
  socklen_t len = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
  if (error == 0) {
    c->state = CLIENT_SENDING;
    return CLIENT_PENDING;
  }
  errno = error;
  because_errno(why, "cannot connect to `%s`", c->to->authority);
  disconnect(c);
  return connect_next(c, why);
}

/* A server may close a kept connection at any time, also while our next request is on its way. If
 * not a byte of an answer came, the request goes out once more on a connection of its own. */
static client_result lost(http_client *c, reason *why) {
  bool nothing_came = c->response.state == RESPONSE_STATUS && c->response.line_len == 0;
  if (!c->reused || !nothing_came)
    return failed(c);
  disconnect(c);
  return open_connection(c, why);
}

static client_result send_request(http_client *c, reason *why) {
  ssize_t n = send(c->fd, c->request + c->sent, c->request_len - c->sent, MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return CLIENT_PENDING;
  if (n < 0) {
    because_errno(why, "cannot send to `%s`", c->to->authority);
    return lost(c, why);
  }
  c->sent += (size_t)n;
  if (c->sent == c->request_len)
    c->state = CLIENT_RECEIVING;
  return CLIENT_PENDING;
}

static client_result complete(http_client *c) {
  if (!c->response.keep_alive)
    disconnect(c);
  c->state = CLIENT_IDLE;
  return CLIENT_DONE;
}

static client_result receive_answer(http_client *c, reason *why) {
  char bytes[8192];
  ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return CLIENT_PENDING;
  if (n < 0) {
    because_errno(why, "cannot read from `%s`", c->to->authority);
    return lost(c, why);
  }
  int ended = n == 0 ? http_response_eof(&c->response, why)
                     : http_response_feed(&c->response, bytes, (size_t)n, why);
  if (ended > 0)
    return complete(c);
  if (ended == 0)
    return CLIENT_PENDING;
  return n == 0 ? lost(c, why) : failed(c);
}

client_result http_client_step(http_client *c, short revents, int64_t now, reason *why) {
  if (c->state == CLIENT_IDLE)
    return CLIENT_PENDING;
  if (now >= c->deadline) {
    because(why, "`%s` gave no answer within %d s", c->to->authority, CLIENT_TIMEOUT_MS / 1000);
    return failed(c);
  }
  if (revents == 0)
    return CLIENT_PENDING;
  switch (c->state) {
  case CLIENT_CONNECTING:
    return finish_connect(c, why);
  case CLIENT_SENDING:
    return send_request(c, why);
  default:
    return receive_answer(c, why);
  }
}
