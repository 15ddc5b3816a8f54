#include "mem.h"
#include "stream_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* RFC 8305, section 5: the delay before the next address is tried as well. */
#define ATTEMPT_DELAY 250

int mp_stream_check_path(const char *path, mp_error *err) {
  struct sockaddr_un un;
  if (*path == '\0')
    return mp_error_set(err, MP_NET, MP_INVALID, "the path of a Unix socket is empty");
  if (strlen(path) < sizeof un.sun_path)
    return 0;
  mp_error_set(err, MP_NET, "ENAMETOOLONG",
               "the path of a Unix socket may have %zu bytes, and this has %zu: `%s`",
               sizeof un.sun_path - 1, strlen(path), path);
  return mp_error_hint(err, "use a shorter directory, such as one under /run");
}

char *mp_stream_address_text_(const mp_stream_address *address) {
  return address->path ? mp_sprintf("`%s`", address->path)
                       : mp_sprintf("`%s` port %u", address->host, address->port);
}

int mp_stream_sockaddr_(const mp_stream_address *address, struct sockaddr_storage *to,
                        socklen_t *len, mp_error *err) {
  memset(to, 0, sizeof *to);
  if (address->path) {
    struct sockaddr_un *un = (struct sockaddr_un *)to;
    if (mp_stream_check_path(address->path, err) < 0)
      return -1;
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, address->path);
    *len = sizeof *un;
    return 0;
  }
  if (uv_ip4_addr(address->host, (int)address->port, (struct sockaddr_in *)to) == 0) {
    *len = sizeof(struct sockaddr_in);
    return 0;
  }
  if (uv_ip6_addr(address->host, (int)address->port, (struct sockaddr_in6 *)to) == 0) {
    *len = sizeof(struct sockaddr_in6);
    return 0;
  }
  return mp_error_set(err, MP_NET, MP_INVALID, "`%s` is not an IP address", address->host);
}

typedef struct attempt attempt;

/* A connection to be. Several attempts may race; the first to be there wins. */
typedef struct {
  mp_op op;
  mp_loop *loop;
  char *text; /* of the address, for messages */
  mp_stream_connect_cb cb;
  void *data;
  uv_getaddrinfo_t *resolving; /* lives by itself: a resolver cannot be stopped */
  struct addrinfo *found;
  const struct addrinfo *next;
  attempt *racing;
  mp_stream *won;
  mp_error err; /* of the latest attempt that failed, or what ended it all */
  mp_op *deadline;
  mp_op *stagger;
  unsigned refs; /* the racing attempts, the timers, and the operation itself until it has ended */
  bool ended;
} connecting;

struct attempt {
  uv_connect_t request;
  connecting *owner;
  mp_stream *stream;
  attempt *next;
};

static void unref(connecting *self) {
  if (--self->refs > 0)
    return;
  if (self->found)
    uv_freeaddrinfo(self->found);
  mp_error_reset(&self->err);
  free(self->text);
  free(self);
}

static void answer(void *data, bool cancelled) {
  connecting *self = data;
  (void)cancelled;
  self->cb(self->data, self->won, self->won ? NULL : &self->err);
  unref(self);
}

static void end(connecting *self) {
  if (self->ended)
    return;
  self->ended = true;
  if (self->deadline)
    mp_op_cancel(self->deadline);
  if (self->stagger)
    mp_op_cancel(self->stagger);
  if (self->resolving)
    self->resolving->data = NULL;
  for (attempt *one = self->racing; one; one = one->next)
    mp_stream_close_handle_(one->stream); /* `connected` follows */
  mp_timer_start(self->loop, 0, answer, self);
}

static void try_next(connecting *self);

static void attempt_failed(connecting *self, int rc) {
  mp_error_errno(&self->err, MP_NET, rc, "could not connect to %s", self->text);
  if (rc == UV_ECONNREFUSED)
    mp_error_hint(&self->err, "nothing is listening there");
  if (self->next)
    try_next(self);
  else if (self->racing == NULL)
    end(self);
}

static void leave_race(attempt *one) {
  attempt **link = &one->owner->racing;
  while (*link != one)
    link = &(*link)->next;
  *link = one->next;
}

static void connected(uv_connect_t *request, int status) {
  attempt *self = request->data;
  connecting *owner = self->owner;
  leave_race(self);
  if (status == 0 && !owner->ended) {
    owner->won = self->stream;
    end(owner);
  } else {
    mp_stream_close(self->stream);
    if (!owner->ended)
      attempt_failed(owner, status);
  }
  free(self);
  unref(owner);
}

static void stagger_passed(void *data, bool cancelled) {
  connecting *self = data;
  self->stagger = NULL;
  if (!cancelled && !self->ended && self->next)
    try_next(self);
  unref(self);
}

static attempt *enter_race(connecting *self) {
  attempt *one = mp_alloc(sizeof *one);
  one->owner = self;
  one->request.data = one;
  one->stream = mp_stream_new_(self->loop, MP_STREAM_SOCKET);
  one->next = self->racing;
  self->racing = one;
  self->refs++;
  return one;
}

static void try_next(connecting *self) {
  const struct addrinfo *address = self->next;
  self->next = address->ai_next;
  attempt *one = enter_race(self);
  uv_tcp_init(&self->loop->uv, &one->stream->uv.tcp);
  int rc = uv_tcp_connect(&one->request, &one->stream->uv.tcp, address->ai_addr, connected);
  if (rc < 0) {
    leave_race(one);
    self->refs--;
    mp_stream_close(one->stream);
    free(one);
    attempt_failed(self, rc);
    return;
  }
  uv_tcp_nodelay(&one->stream->uv.tcp, 1);
  if (self->next && self->stagger == NULL) {
    self->refs++;
    self->stagger = mp_timer_start(self->loop, ATTEMPT_DELAY, stagger_passed, self);
  }
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
  connecting *self = request->data;
  free(request);
  if (self == NULL) {
    if (found)
      uv_freeaddrinfo(found);
    return;
  }
  self->resolving = NULL;
  if (status < 0) {
    mp_error_set(&self->err, MP_NET, "resolve", "could not resolve %s: %s", self->text,
                 uv_strerror(status));
    end(self);
    return;
  }
  self->found = found;
  self->next = found;
  try_next(self);
}

static int resolve(connecting *self, const mp_stream_address *address, mp_error *err) {
  char port[8];
  snprintf(port, sizeof port, "%u", address->port);
  struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
  self->resolving = mp_alloc(sizeof *self->resolving);
  self->resolving->data = self;
  int rc = uv_getaddrinfo(&self->loop->uv, self->resolving, resolved, address->host, port, &wanted);
  if (rc < 0) {
    free(self->resolving);
    return mp_error_set(err, MP_NET, "resolve", "could not resolve %s: %s", self->text,
                        uv_strerror(rc));
  }
  return 0;
}

static void connect_path(connecting *self, const char *path) {
  attempt *one = enter_race(self);
  uv_pipe_init(&self->loop->uv, &one->stream->uv.pipe, 0);
  uv_pipe_connect(&one->request, &one->stream->uv.pipe, path, connected);
}

static void deadline_passed(void *data, bool cancelled) {
  connecting *self = data;
  self->deadline = NULL;
  if (!cancelled && !self->ended) {
    mp_error_set(&self->err, MP_NET, MP_TIMEOUT, "%s did not answer in time", self->text);
    end(self);
  }
  unref(self);
}

static void cancel_connect(mp_op *op) {
  connecting *self = (connecting *)op;
  if (self->ended)
    return;
  mp_error_set(&self->err, MP_NET, MP_CANCELLED, "connecting to %s was cancelled", self->text);
  end(self);
}

static int check_address(const mp_stream_address *address, mp_error *err) {
  if (address->path)
    return mp_stream_check_path(address->path, err);
  if (address->host == NULL || *address->host == '\0')
    return mp_error_set(err, MP_NET, MP_INVALID, "neither a socket's path nor a host is given");
  if (address->port == 0 || address->port > 65535)
    return mp_error_set(err, MP_NET, MP_INVALID, "%u is not a port", address->port);
  return 0;
}

int mp_stream_connect(mp_loop *loop, const mp_stream_address *address, uint64_t timeout,
                      mp_stream_connect_cb cb, void *data, mp_op **op, mp_error *err) {
  if (check_address(address, err) < 0)
    return -1;
  connecting *self = mp_alloc(sizeof *self);
  self->op.cancel = cancel_connect;
  self->loop = loop;
  self->text = mp_stream_address_text_(address);
  self->cb = cb;
  self->data = data;
  self->refs = 1;
  if (address->path) {
    connect_path(self, address->path);
  } else if (resolve(self, address, err) < 0) {
    unref(self);
    return -1;
  }
  if (timeout > 0) {
    self->refs++;
    self->deadline = mp_timer_start(loop, timeout, deadline_passed, self);
  }
  *op = &self->op;
  return 0;
}
