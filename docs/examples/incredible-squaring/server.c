#include "server.h"

#include "url.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void remember_address(server *s) {
  struct sockaddr_storage name;
  socklen_t len = sizeof name;
  char host[64] = "?", port[8] = "?";
  if (getsockname(s->listener, (struct sockaddr *)&name, &len) == 0)
    getnameinfo((struct sockaddr *)&name, len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
  snprintf(s->address, sizeof s->address, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static int bind_to(server *s, const struct addrinfo *to) {
  int one = 1;
  s->listener = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s->listener < 0)
    return -1;
  setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  return bind(s->listener, to->ai_addr, to->ai_addrlen) == 0 ? listen(s->listener, 16) : -1;
}

int server_open(server *s, const char *listen, reason *why) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                           .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV},
                  *list;
  char host[64], port[6];
  s->listener = -1;
  for (int i = 0; i < SERVER_CONNECTIONS; i++)
    s->connections[i].fd = -1;
  if (url_split_address(listen, strlen(listen), NULL, host, sizeof host, port, sizeof port, why))
    return -1;
  if (strcmp(host, "localhost") == 0)
    strcpy(host, "127.0.0.1");
  int error = getaddrinfo(host[0] ? host : NULL, port, &hints, &list);
  if (error != 0)
    return because(why, "cannot listen on `%s`: not a numeric address", listen);
  int bound = bind_to(s, list);
  freeaddrinfo(list);
  if (bound != 0) {
    because_errno(why, "cannot listen on `%s`", listen);
    server_close(s);
    return -1;
  }
  remember_address(s);
  return 0;
}

void server_close(server *s) {
  if (s->listener >= 0)
    close(s->listener);
  s->listener = -1;
  for (int i = 0; i < SERVER_CONNECTIONS; i++)
    if (s->connections[i].fd >= 0)
      close(s->connections[i].fd);
}

void server_prepare(const server *s, struct pollfd *fds) {
  fds[0] = (struct pollfd){s->listener, POLLIN, 0};
  for (int i = 0; i < SERVER_CONNECTIONS; i++) {
    const server_connection *c = &s->connections[i];
    fds[1 + i] = (struct pollfd){c->fd, c->out_len > 0 ? POLLOUT : POLLIN, 0};
  }
}

int64_t server_deadline(const server *s) {
  int64_t next = INT64_MAX;
  for (int i = 0; i < SERVER_CONNECTIONS; i++)
    if (s->connections[i].fd >= 0 && s->connections[i].deadline < next)
      next = s->connections[i].deadline;
  return next;
}

static void drop(server_connection *c) {
  close(c->fd);
  c->fd = -1;
  c->in_len = c->out_len = c->sent = 0;
}

static void answer(server_connection *c, int status, const char *text, const char *type,
                   const char *body, size_t len, bool head) {
  int used = snprintf(c->out, sizeof c->out,
                      "HTTP/1.1 %d %s\r\n"
                      "Content-Type: %s\r\n"
                      "Content-Length: %zu\r\n"
                      "Cache-Control: no-store\r\n"
                      "%s"
                      "Connection: close\r\n\r\n",
                      status, text, type, len, status == 405 ? "Allow: GET, HEAD\r\n" : "");
  c->out_len = (size_t)used;
  if (!head) {
    memcpy(c->out + used, body, len);
    c->out_len += len;
  }
}

static void answer_text(server_connection *c, int status, const char *text, const char *body,
                        bool head) {
  answer(c, status, text, "text/plain; charset=utf-8", body, strlen(body), head);
}

static bool is(const char *path, size_t len, const char *expected) {
  return strlen(expected) == len && memcmp(path, expected, len) == 0;
}

static void route(server_connection *c, const metrics *m) {
  bool get = strncmp(c->in, "GET ", 4) == 0, head = strncmp(c->in, "HEAD ", 5) == 0;
  const char *path = c->in + strcspn(c->in, " \r\n");
  path += *path == ' ';
  size_t len = strcspn(path, " ?\r\n");
  char body[METRICS_SIZE];

  if (*path != '/')
    answer_text(c, 400, "Bad Request", "not an HTTP request\n", false);
  else if (!get && !head)
    answer_text(c, 405, "Method Not Allowed", "only GET and HEAD\n", false);
  else if (is(path, len, "/healthz"))
    answer_text(c, 200, "OK", "ok\n", head);
  else if (is(path, len, "/readyz") && m->ready)
    answer_text(c, 200, "OK", "ready\n", head);
  else if (is(path, len, "/readyz"))
    answer_text(c, 503, "Service Unavailable", "the node has not answered yet\n", head);
  else if (is(path, len, "/metrics"))
    answer(c, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", body, metrics_render(body, m),
           head);
  else
    answer_text(c, 404, "Not Found", "try /healthz, /readyz or /metrics\n", head);
}

static bool head_complete(const server_connection *c) {
  return strstr(c->in, "\r\n\r\n") != NULL || strstr(c->in, "\n\n") != NULL;
}

static void read_request(server_connection *c, const metrics *m) {
  ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0) {
    drop(c);
    return;
  }
  c->in_len += (size_t)n;
  c->in[c->in_len] = '\0';
  if (head_complete(c))
    route(c, m);
  else if (c->in_len == sizeof c->in - 1 || strlen(c->in) < c->in_len)
    answer_text(c, 400, "Bad Request", "the request is too long or holds a zero byte\n", false);
}

static void write_answer(server_connection *c) {
  ssize_t n = send(c->fd, c->out + c->sent, c->out_len - c->sent, MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n >= 0)
    c->sent += (size_t)n;
  if (n < 0 || c->sent == c->out_len)
    drop(c);
}

/* A free slot; where there is none, whoever has held one longest makes room, so that clients who
 * connect and say nothing cannot keep a probe out. */
static server_connection *slot_for_newcomer(server *s) {
  server_connection *oldest = &s->connections[0];
  for (int i = 0; i < SERVER_CONNECTIONS; i++) {
    server_connection *c = &s->connections[i];
    if (c->fd < 0)
      return c;
    if (c->deadline < oldest->deadline)
      oldest = c;
  }
  drop(oldest);
  return oldest;
}

static void accept_one(server *s, int64_t now) {
  int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0)
    return;
  server_connection *c = slot_for_newcomer(s);
  c->fd = fd;
  c->deadline = now + SERVER_TIMEOUT_MS;
}

void server_step(server *s, const struct pollfd *fds, int64_t now, const metrics *m) {
  for (int i = 0; i < SERVER_CONNECTIONS; i++) {
    server_connection *c = &s->connections[i];
    if (c->fd < 0)
      continue;
    if (now >= c->deadline)
      drop(c);
    else if (fds[1 + i].revents != 0 && c->out_len == 0)
      read_request(c, m);
    if (c->fd >= 0 && c->out_len > 0)
      write_answer(c);
  }
  if (fds[0].revents & POLLIN)
    accept_one(s, now);
}
