#include "stdin_line.h"

#include "core/buf.h"
#include "core/mem.h"
#include "errors.h"
#include "stdin_watch.h"
#include "task.h"

#include <errno.h>
#include <unistd.h>

#define LONGEST_LINE (64 << 20) /* bytes */

typedef struct {
  mp_wait wait;
  mp_stdin_watch *watch; /* while it waits */
  mp_buf line;
  bool whole; /* a newline, or the end of the input, was reached */
  bool ended; /* the latter */
} line_wait;

static bool reading;

/* Byte by byte, as shells do, to leave the rest where it is. Returns 0 to go on or be called again
 * when there is more, -1 with wait.error filled in. */
static int take_available(line_wait *self) {
  while (!self->whole && mp_stdin_is_readable()) {
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

static void stop(line_wait *self) {
  reading = false;
  mp_stdin_watch_close(mp_steal(self->watch));
}

static void line_cancel(mp_wait *wait) {
  stop((line_wait *)wait);
  mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static void line_release(mp_wait *wait) {
  mp_buf_free(&((line_wait *)wait)->line);
}

static void on_readable(void *data) {
  line_wait *self = data;
  if (take_available(self) < 0 || self->whole) {
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
  self->watch = mp_stdin_watch_open(&mp_loop_of(L)->uv, on_readable, self, &self->wait.error);
  if (self->watch == NULL)
    return mp_throw(L, &self->wait.error);
  reading = true;
  return mp_wait_yield(L, &self->wait);
}
