#include "stream_internal.h"

#include "mem.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* libuv writes to pipes with write(2), which has no MSG_NOSIGNAL: a peer that has gone must be an
 * EPIPE for one stream, not the end of the process. Children get the default back (spawn.c). */
static void ignore_sigpipe(void) {
  static bool done;
  if (!done)
    signal(SIGPIPE, SIG_IGN);
  done = true;
}

mp_stream *mp_stream_new_(mp_loop *loop, mp_stream_kind kind) {
  ignore_sigpipe();
  mp_stream *stream = mp_alloc(sizeof *stream);
  stream->loop = loop;
  stream->kind = kind;
  stream->refs = 2;
  return stream;
}

void mp_stream_release_(mp_stream *stream) {
  if (--stream->refs > 0)
    return;
  mp_lines_free(&stream->input);
  free(stream);
}

int mp_stream_open(mp_loop *loop, int fd, mp_stream_kind kind, mp_stream **stream, mp_error *err) {
  mp_stream *self = mp_stream_new_(loop, kind);
  uv_pipe_init(&loop->uv, &self->uv.pipe, 0);
  int rc = uv_pipe_open(&self->uv.pipe, fd);
  if (rc < 0) {
    close(fd);
    mp_stream_close(self);
    return mp_error_errno(err, MP_NET, rc, "could not use descriptor %d as a stream", fd);
  }
  *stream = self;
  return 0;
}

int mp_stream_fd(const mp_stream *stream) {
  uv_os_fd_t fd = -1;
  uv_fileno(&stream->uv.handle, &fd);
  return fd;
}

/* -- Reading ---------------------------------------------------------------------------------- */

static void turn(mp_stream *stream);

static void delayed_turn(void *data, bool cancelled) {
  mp_stream *stream = data;
  (void)cancelled;
  stream->delayed = false;
  turn(stream);
  mp_stream_release_(stream);
}

/* Completions that are due already wait for the loop's next turn. */
static void turn_later(mp_stream *stream) {
  if (stream->delayed)
    return;
  stream->delayed = true;
  stream->refs++;
  mp_timer_start(stream->loop, 0, delayed_turn, stream);
}

static void alloc_scratch(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  /* uv fills it and hands it to `on_read` before anything else can run. */
  static _Thread_local char scratch[64 * 1024];
  mp_stream *stream = (mp_stream *)handle;
  (void)suggested;
  size_t size = sizeof scratch;
  if (stream->finite && stream->remaining < size)
    size = stream->remaining;
  *buf = uv_buf_init(scratch, (unsigned)size);
}

/* Once something was thrown away, all that follows is: what is kept has no gap. */
static bool is_absorbing(const mp_stream *stream) {
  return stream->keep > 0 && (!stream->was_read || stream->dropped > 0);
}

static void keep_bytes(mp_stream *stream, const char *bytes, size_t len) {
  if (is_absorbing(stream)) {
    size_t held = mp_lines_pending(&stream->input);
    size_t room = held < stream->keep && stream->dropped == 0 ? stream->keep - held : 0;
    if (len > room) {
      stream->dropped += len - room;
      len = room;
    }
  }
  if (len > 0)
    mp_lines_feed(&stream->input, bytes, len);
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *buf) {
  mp_stream *stream = (mp_stream *)handle;
  stream->refs++;
  if (got > 0) {
    if (stream->on_bytes)
      stream->on_bytes(stream->on_bytes_data, buf->base, (size_t)got);
    else
      keep_bytes(stream, buf->base, (size_t)got);
    if (stream->finite)
      stream->remaining -= (size_t)got < stream->remaining ? (size_t)got : stream->remaining;
  } else if (got < 0) {
    stream->at_end = true;
    /* Linux's way to say that the last slave of a pty was closed. */
    bool hang_up = got == UV_EOF || (got == UV_EIO && stream->kind == MP_STREAM_TERMINAL);
    stream->error = hang_up ? 0 : (int)got;
  }
  if (stream->finite && stream->remaining == 0)
    stream->at_end = true;
  turn(stream);
  mp_stream_release_(stream);
}

/* Only while someone waits for it: an idle stream neither fills up nor keeps the loop running. */
static bool wants_input(const mp_stream *stream) {
  if (stream->at_end || stream->closing)
    return false;
  return stream->reader.active || stream->on_bytes || is_absorbing(stream) ||
         mp_lines_pending(&stream->input) < stream->ahead;
}

static void adjust_reading(mp_stream *stream) {
  bool wanted = wants_input(stream);
  if (wanted == stream->reading || stream->closing)
    return;
  stream->reading = wanted;
  if (!wanted) {
    uv_read_stop(&stream->uv.stream);
    return;
  }
  int rc = uv_read_start(&stream->uv.stream, alloc_scratch, on_read);
  if (rc < 0) {
    stream->reading = false;
    stream->at_end = true;
    stream->error = rc;
    turn_later(stream);
  }
}

static void complete(mp_stream *stream, const char *bytes, size_t len, const mp_error *err) {
  read_op done = stream->reader;
  stream->reader.active = false;
  done.cb(done.data, bytes, len, err);
}

static void complete_at_end(mp_stream *stream) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  if (stream->error != 0)
    mp_error_errno(&err, MP_NET, stream->error, "could not read");
  else if (stream->dropped > 0)
    mp_error_set(&err, MP_NET, MP_LIMIT, "%zu bytes that nobody read were thrown away",
                 stream->dropped);
  if (err.domain == NULL) {
    complete(stream, NULL, 0, NULL);
    return;
  }
  complete(stream, NULL, 0, &err);
}

static void complete_over_limit(mp_stream *stream) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, MP_NET, MP_LIMIT, "%s is longer than %zu bytes",
               stream->reader.kind == READ_LINE ? "a line" : "the input", stream->reader.max);
  complete(stream, NULL, 0, &err);
}

static void complete_cancelled(mp_stream *stream) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, MP_NET, MP_CANCELLED, "reading was cancelled");
  complete(stream, NULL, 0, &err);
}

static void serve_line(mp_stream *stream) {
  mp_lines before = stream->input;
  const char *line;
  size_t len;
  if (mp_lines_next(&stream->input, &line, &len) ||
      (stream->at_end && mp_lines_rest(&stream->input, &line, &len))) {
    if (len <= stream->reader.max) {
      complete(stream, line, len, NULL);
      return;
    }
    stream->input = before; /* not taken */
    complete_over_limit(stream);
  } else if (stream->at_end)
    complete_at_end(stream);
  else if (mp_lines_pending(&stream->input) > stream->reader.max)
    complete_over_limit(stream);
}

static void serve_some(mp_stream *stream) {
  const char *bytes;
  size_t len;
  if (mp_lines_take(&stream->input, stream->reader.max, &bytes, &len))
    complete(stream, bytes, len, NULL);
  else if (stream->at_end)
    complete_at_end(stream);
}

static void serve_all(mp_stream *stream) {
  const char *bytes = "";
  size_t len = 0;
  if (mp_lines_pending(&stream->input) > stream->reader.max) {
    complete_over_limit(stream);
  } else if (stream->at_end && (stream->error != 0 || stream->dropped > 0)) {
    complete_at_end(stream);
  } else if (stream->at_end) {
    mp_lines_take(&stream->input, SIZE_MAX, &bytes, &len);
    complete(stream, bytes, len, NULL);
  }
}

static void serve_reader(mp_stream *stream) {
  if (stream->reader.cancelled || stream->closing)
    complete_cancelled(stream);
  else if (stream->reader.kind == READ_LINE)
    serve_line(stream);
  else if (stream->reader.kind == READ_SOME)
    serve_some(stream);
  else
    serve_all(stream);
}

static void tell_end(mp_stream *stream) {
  if (!stream->at_end || stream->end_told || stream->closing)
    return;
  stream->end_told = true;
  if (stream->on_bytes)
    stream->on_bytes(stream->on_bytes_data, NULL, 0);
  if (stream->on_end && !stream->closing)
    stream->on_end(stream->on_end_data);
}

/* Whatever has become possible, done. Callbacks may read on, or close the stream: the caller holds
 * a reference. */
static void turn(mp_stream *stream) {
  if (stream->reader.active)
    serve_reader(stream);
  tell_end(stream);
  adjust_reading(stream);
}

static void cancel_read(mp_op *op) {
  mp_stream *stream = (mp_stream *)((char *)op - offsetof(mp_stream, reader.op));
  stream->reader.cancelled = true;
  turn_later(stream);
}

static bool can_serve(const mp_stream *stream) {
  return stream->at_end || mp_lines_pending(&stream->input) > 0;
}

static int start_read(mp_stream *stream, read_kind kind, size_t max, mp_stream_read_cb cb,
                      void *data, mp_op **op, mp_error *err) {
  if (stream->reader.active)
    return mp_error_set(err, MP_NET, "busy", "another read of this stream is under way");
  if (max == 0)
    return mp_error_set(err, MP_NET, MP_INVALID, "a read of no bytes");
  if (uv_is_closing(&stream->uv.handle))
    return mp_error_set(err, MP_NET, "closed", "the stream is closed");
  stream->reader = (read_op){
      .op.cancel = cancel_read, .active = true, .kind = kind, .max = max, .cb = cb, .data = data};
  stream->was_read = true;
  if (can_serve(stream))
    turn_later(stream);
  adjust_reading(stream);
  *op = &stream->reader.op;
  return 0;
}

int mp_stream_read(mp_stream *stream, size_t max, mp_stream_read_cb cb, void *data, mp_op **op,
                   mp_error *err) {
  return start_read(stream, READ_SOME, max, cb, data, op, err);
}

int mp_stream_read_line(mp_stream *stream, size_t limit, mp_stream_read_cb cb, void *data,
                        mp_op **op, mp_error *err) {
  return start_read(stream, READ_LINE, limit, cb, data, op, err);
}

int mp_stream_read_all(mp_stream *stream, size_t limit, mp_stream_read_cb cb, void *data,
                       mp_op **op, mp_error *err) {
  return start_read(stream, READ_ALL, limit, cb, data, op, err);
}

bool mp_stream_take(mp_stream *stream, size_t max, const char **bytes, size_t *len) {
  if (stream->reader.active || !mp_lines_take(&stream->input, max, bytes, len))
    return false;
  stream->was_read = true;
  adjust_reading(stream);
  return true;
}

bool mp_stream_take_line(mp_stream *stream, size_t limit, const char **line, size_t *len) {
  mp_lines before = stream->input;
  if (stream->reader.active || !mp_lines_next(&stream->input, line, len))
    return false;
  stream->was_read = true;
  if (*len <= limit)
    return true;
  stream->input = before; /* not taken */
  return false;
}

void mp_stream_push(mp_stream *stream, mp_stream_on_bytes on_bytes, void *data) {
  stream->on_bytes = on_bytes;
  stream->on_bytes_data = data;
  adjust_reading(stream);
}

void mp_stream_absorb(mp_stream *stream, size_t limit) {
  stream->keep = limit;
  adjust_reading(stream);
}

void mp_stream_read_ahead(mp_stream *stream, size_t limit) {
  stream->ahead = limit;
  adjust_reading(stream);
}

size_t mp_stream_dropped(const mp_stream *stream) {
  return stream->dropped;
}

void mp_stream_finish(mp_stream *stream) {
  int waiting = 0;
  if (stream->at_end || stream->finite)
    return;
  if (ioctl(mp_stream_fd(stream), FIONREAD, &waiting) < 0 || waiting < 0)
    waiting = 0;
  stream->finite = true;
  stream->remaining = (size_t)waiting;
  if (waiting == 0) {
    stream->at_end = true;
    turn_later(stream);
  }
}

bool mp_stream_hung_up(mp_stream *stream) {
  struct pollfd polled = {.fd = mp_stream_fd(stream)};
  return stream->at_end || (poll(&polled, 1, 0) == 1 && (polled.revents & (POLLHUP | POLLERR)));
}

void mp_stream_on_end(mp_stream *stream, void (*on_end)(void *data), void *data) {
  stream->on_end = on_end;
  stream->on_end_data = data;
}

/* -- Closing ---------------------------------------------------------------------------------- */

static void closed(uv_handle_t *handle) {
  mp_stream *stream = (mp_stream *)handle;
  if (stream->reader.active)
    complete_cancelled(stream);
  mp_stream_release_(stream);
}

void mp_stream_close_handle_(mp_stream *stream) {
  if (!uv_is_closing(&stream->uv.handle))
    uv_close(&stream->uv.handle, closed);
}

void mp_stream_close(mp_stream *stream) {
  if (stream == NULL)
    return;
  stream->closing = true;
  stream->on_bytes = NULL;
  stream->on_end = NULL;
  mp_stream_close_handle_(stream);
  mp_stream_release_(stream);
}
