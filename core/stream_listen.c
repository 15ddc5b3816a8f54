#include "mem.h"
#include "stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

struct mp_listener {
  uv_poll_t poll; /* first: a handle is its listener */
  mp_loop *loop;
  int fd;
  char *path;       /* owned; NULL for TCP */
  struct stat made; /* the file that it was at first */
  char *text;
  unsigned port;
  mp_op op;
  mp_stream_connect_cb cb; /* of the accept under way */
  void *data;
  bool cancelled;
  bool delayed;
  bool closing;
};

static int bind_socket(int fd, const mp_stream_address *address, mp_error *err) {
  struct sockaddr_storage to;
  socklen_t len;
  if (mp_stream_sockaddr_(address, &to, &len, err) < 0)
    return -1;
  int on = 1;
  if (to.ss_family != AF_UNIX)
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  /* Linux makes the file with the mode of the socket itself, so nobody can slip in before a
   * chmod. */
  else if (fchmod(fd, 0600) < 0)
    return -1;
  return bind(fd, (struct sockaddr *)&to, len) < 0 || listen(fd, BACKLOG) < 0 ? -1 : 0;
}

static int open_socket(const mp_stream_address *address, mp_error *err) {
  int family = address->path ? AF_UNIX : strchr(address->host, ':') ? AF_INET6 : AF_INET;
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0 && bind_socket(fd, address, err) == 0)
    return fd;
  int errnum = errno;
  if (fd >= 0)
    close(fd);
  if (err->domain)
    return -1;
  mp_auto_free char *text = mp_stream_address_text_(address);
  mp_error_errno(err, MP_NET, errnum, "could not listen on %s", text);
  if (errnum == EADDRINUSE && address->path)
    mp_error_hint(err, "the file exists: remove it when nobody answers there");
  return -1;
}

static unsigned bound_port(int fd) {
  struct sockaddr_storage at = {0};
  socklen_t len = sizeof at;
  if (getsockname(fd, (struct sockaddr *)&at, &len) < 0)
    return 0;
  if (at.ss_family == AF_INET)
    return ntohs(((struct sockaddr_in *)&at)->sin_port);
  return at.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&at)->sin6_port) : 0;
}

int mp_stream_listen(mp_loop *loop, const mp_stream_address *address, mp_listener **listener,
                     mp_error *err) {
  int fd = open_socket(address, err);
  if (fd < 0)
    return -1;
  mp_listener *self = mp_alloc(sizeof *self);
  self->loop = loop;
  self->fd = fd;
  self->path = mp_strdup(address->path);
  if (self->path)
    stat(self->path, &self->made);
  self->text = mp_stream_address_text_(address);
  self->port = bound_port(fd);
  uv_poll_init(&loop->uv, &self->poll, fd);
  *listener = self;
  return 0;
}

unsigned mp_listener_port(const mp_listener *listener) {
  return listener->port;
}

static void answer(mp_listener *self, mp_stream *stream, const mp_error *err) {
  mp_stream_connect_cb cb = self->cb;
  self->cb = NULL;
  if (!uv_is_closing((uv_handle_t *)&self->poll))
    uv_poll_stop(&self->poll);
  cb(self->data, stream, err);
}

static void answer_cancelled(mp_listener *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, MP_NET, MP_CANCELLED, "waiting on %s was cancelled", self->text);
  answer(self, NULL, &err);
}

/* Some errors belong to the connection that was to be accepted and not to us (accept(2)). */
static bool is_passing(int errnum) {
  return errnum == EAGAIN || errnum == EINTR || errnum == ECONNABORTED || errnum == EPROTO ||
         errnum == ENETDOWN || errnum == EHOSTUNREACH || errnum == ENETUNREACH;
}

static void on_connection(uv_poll_t *poll, int status, int events) {
  mp_listener *self = (mp_listener *)poll;
  (void)status;
  (void)events;
  if (self->cb == NULL || self->cancelled)
    return;
  int fd = accept4(self->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0 && is_passing(errno))
    return;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_stream *stream = NULL;
  if (fd < 0)
    mp_error_errno(&err, MP_NET, errno, "could not accept a connection on %s", self->text);
  else
    mp_stream_open(self->loop, fd, MP_STREAM_SOCKET, &stream, &err);
  answer(self, stream, stream ? NULL : &err);
}

static void cancelled_turn(void *data, bool cancelled) {
  mp_listener *self = data;
  (void)cancelled;
  self->delayed = false;
  if (self->cb)
    answer_cancelled(self);
  if (self->closing)
    mp_listener_close(self);
}

static void cancel_accept(mp_op *op) {
  mp_listener *self = (mp_listener *)((char *)op - offsetof(mp_listener, op));
  if (self->delayed)
    return;
  self->cancelled = self->delayed = true;
  mp_timer_start(self->loop, 0, cancelled_turn, self);
}

int mp_listener_accept(mp_listener *listener, mp_stream_connect_cb cb, void *data, mp_op **op,
                       mp_error *err) {
  if (listener->cb)
    return mp_error_set(err, MP_NET, "busy", "another task waits on %s", listener->text);
  listener->op.cancel = cancel_accept;
  listener->cb = cb;
  listener->data = data;
  listener->cancelled = false;
  uv_poll_start(&listener->poll, UV_READABLE, on_connection);
  *op = &listener->op;
  return 0;
}

/* Another may have taken it for a dead one's, and made its own there. */
static void remove_socket(const mp_listener *self) {
  struct stat now;
  if (self->path && lstat(self->path, &now) == 0 && now.st_dev == self->made.st_dev &&
      now.st_ino == self->made.st_ino)
    unlink(self->path);
}

static void listener_closed(uv_handle_t *handle) {
  mp_listener *self = (mp_listener *)handle;
  if (self->cb)
    answer_cancelled(self);
  close(self->fd);
  free(self->path);
  free(self->text);
  free(self);
}

void mp_listener_close(mp_listener *listener) {
  if (listener == NULL || uv_is_closing((uv_handle_t *)&listener->poll))
    return;
  listener->closing = true;
  if (listener->delayed) /* its turn closes */
    return;
  remove_socket(listener);
  uv_close((uv_handle_t *)&listener->poll, listener_closed);
}
