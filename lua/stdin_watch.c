#include "stdin_watch.h"

#include "core/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct mp_stdin_watch {
  uv_poll_t poll;
  int epoll; /* holds standard input, and is itself what the loop polls */
  void (*on_readable)(void *data);
  void *data;
};

static unsigned watches;

bool mp_stdin_is_watched(void) {
  return watches > 0;
}

bool mp_stdin_is_readable(void) {
  struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
  return poll(&fd, 1, 0) != 0;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  mp_stdin_watch *self = poll->data;
  self->on_readable(self->data);
}

static void poll_closed(uv_handle_t *handle) {
  mp_stdin_watch *self = handle->data;
  close(self->epoll);
  free(self);
}

static int fill_epoll(int epoll) {
  struct epoll_event readable = {.events = EPOLLIN};
  return epoll < 0 ? -1 : epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &readable);
}

mp_stdin_watch *mp_stdin_watch_open(uv_loop_t *loop, void (*on_readable)(void *data), void *data,
                                    mp_error *err) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (fill_epoll(epoll) < 0) {
    mp_error_errno(err, "terminal", errno, "could not wait for standard input");
    if (epoll >= 0)
      close(epoll);
    return NULL;
  }
  mp_stdin_watch *self = mp_alloc(sizeof *self);
  self->epoll = epoll;
  watches++;
  self->on_readable = on_readable;
  self->data = data;
  uv_poll_init(loop, &self->poll, epoll);
  self->poll.data = self;
  uv_poll_start(&self->poll, UV_READABLE, on_poll);
  return self;
}

void mp_stdin_watch_close(mp_stdin_watch *self) {
  if (!self)
    return;
  watches--;
  uv_close((uv_handle_t *)&self->poll, poll_closed);
}
