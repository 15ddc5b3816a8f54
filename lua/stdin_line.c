#include "stdin_line.h"

#include "core/buf.h"
#include "core/mem.h"
#include "errors.h"
#include "task.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define LONGEST_LINE (64 << 20) /* bytes */

typedef struct {
  mp_wait wait;
  uv_poll_t *poll; /* while it waits */
  mp_buf line;
  bool whole; /* a newline, or the end of the input, was reached */
  bool ended; /* the latter */
} line_wait;

static bool reading;

static bool is_readable(void) {
  struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
  return poll(&fd, 1, 0) != 0; /* an error shows in the read */
}

/* Byte by byte, as shells do, to leave the rest where it is. Returns 0 to go on or be called again
 * when there is more, -1 with wait.error filled in. */
static int take_available(line_wait *self) {
  while (!self->whole && is_readable()) {
    char byte;
    ssize_t got = read(STDIN_FILENO, &byte, 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      return 0;
    if (got < 0 && errno != EIO) /* EIO: the terminal is gone */
      return mp_error_errno(&self->wait.error, "terminal", errno, "could not read standard input");
    if (got <= 0) {
      self->whole = self->ended = true;
    } else if (byte == '\n') {
      self->whole = true;
    } else if (self->line.len >= LONGEST_LINE) {
      return mp_error_set(&self->wait.error, "terminal", MP_LIMIT,
                          "a line of standard input is longer than %d MiB", LONGEST_LINE >> 20);
    } else {
      mp_buf_append(&self->line, &byte, 1);
    }
  }
  return 0;
}

static void free_poll(uv_handle_t *handle) {
  free(handle);
}

static void stop(line_wait *self) {
  reading = false;
  if (self->poll)
    uv_close((uv_handle_t *)mp_steal(self->poll), free_poll);
}

static void line_cancel(mp_wait *wait) {
  stop((line_wait *)wait);
  mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static void line_release(mp_wait *wait) {
  mp_buf_free(&((line_wait *)wait)->line);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)events;
  line_wait *self = poll->data;
  if (status < 0)
    mp_error_errno(&self->wait.error, "terminal", status, "could not read standard input");
  if (status < 0 || take_available(self) < 0 || self->whole) {
    stop(self);
    mp_wait_done(&self->wait);
  }
}

static int line_finish(lua_State *L, mp_wait *wait) {
  line_wait *self = (line_wait *)wait;
  if (self->ended && self->line.len == 0)
    lua_pushnil(L);
  else
    lua_pushlstring(L, self->line.data ? self->line.data : "", self->line.len);
  return 1;
}

int mp_read_stdin_line(lua_State *L) {
  if (reading)
    return mp_raise(L, "terminal", "busy", NULL, "another task is reading standard input");
  line_wait *self = mp_wait_new(L, sizeof *self, "read_line", line_finish);
  self->wait.cancel = line_cancel;
  self->wait.release = line_release;
  if (take_available(self) < 0)
    return mp_throw(L, &self->wait.error);
  if (self->whole)
    return line_finish(L, &self->wait);
  uv_poll_t *handle = mp_alloc(sizeof *handle);
  int rc = uv_poll_init(&mp_loop_of(L)->uv, handle, STDIN_FILENO);
  if (rc < 0) {
    free(handle);
    mp_error_errno(&self->wait.error, "terminal", rc, "could not wait for standard input");
    return mp_throw(L, &self->wait.error);
  }
  handle->data = self;
  self->poll = handle;
  reading = true;
  uv_poll_start(handle, UV_READABLE, on_readable);
  return mp_wait_yield(L, &self->wait);
}
