#include "mem.h"
#include "stream_internal.h"

#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

typedef struct {
  mp_op op;
  uv_write_t request;
  mp_stream *stream;
  mp_stream_write_cb cb; /* NULL once it has run */
  void *data;
  bool flushed; /* the request is over, and with it libuv's interest in the bytes */
  bool cancelled;
  char bytes[];
} write_op;

static void finish_write_side(mp_stream *stream) {
  if (stream->kind == MP_STREAM_PIPE && stream->ending && stream->writes == 0)
    mp_stream_close_handle_(stream);
}

static void call_back(write_op *self, int status) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_stream_write_cb cb = self->cb;
  self->cb = NULL;
  if (self->cancelled || status == UV_ECANCELED)
    mp_error_set(&err, MP_NET, MP_CANCELLED, "writing was cancelled");
  else if (status < 0)
    mp_error_errno(&err, MP_NET, status, "could not write");
  cb(self->data, err.domain ? &err : NULL);
}

static void written(uv_write_t *request, int status) {
  write_op *self = request->data;
  mp_stream *stream = self->stream;
  self->flushed = true;
  stream->writes--;
  if (self->cb && !self->cancelled)
    call_back(self, status);
  finish_write_side(stream);
  mp_stream_release_(stream);
  if (self->cb == NULL)
    free(self);
}

/* libuv cannot take one write back, so the caller is answered and the request lives on until it is
 * done or the stream is closed. */
static void cancelled_turn(void *data, bool cancelled) {
  write_op *self = data;
  (void)cancelled;
  call_back(self, UV_ECANCELED);
  if (self->flushed)
    free(self);
}

static void cancel_write(mp_op *op) {
  write_op *self = (write_op *)op;
  if (self->cancelled)
    return;
  self->cancelled = true;
  if (!self->flushed)
    self->stream->broken = true;
  mp_timer_start(self->stream->loop, 0, cancelled_turn, self);
}

static int check_writable(const mp_stream *stream, mp_error *err) {
  if (stream->ending || uv_is_closing(&stream->uv.handle))
    return mp_error_set(err, MP_NET, "closed", "the stream is closed for writing");
  if (stream->broken)
    return mp_error_set(err, MP_NET, "broken", "an earlier write was cancelled half-way");
  return 0;
}

int mp_stream_write(mp_stream *stream, const void *bytes, size_t len, mp_stream_write_cb cb,
                    void *data, mp_op **op, mp_error *err) {
  if (check_writable(stream, err) < 0)
    return -1;
  write_op *self = mp_alloc(sizeof *self + len);
  self->op.cancel = cancel_write;
  self->stream = stream;
  self->cb = cb;
  self->data = data;
  self->request.data = self;
  if (len > 0)
    memcpy(self->bytes, bytes, len);
  uv_buf_t buf = {.base = self->bytes, .len = len};
  int rc = uv_write(&self->request, &stream->uv.stream, &buf, 1, written);
  if (rc < 0) {
    free(self);
    return mp_error_errno(err, MP_NET, rc, "could not write");
  }
  stream->writes++;
  stream->refs++;
  *op = &self->op;
  return 0;
}

static void shut_down(uv_shutdown_t *request, int status) {
  mp_stream *stream = request->data;
  (void)status; /* ENOTCONN: the other end was faster */
  free(request);
  mp_stream_release_(stream);
}

static void end_socket(mp_stream *stream) {
  uv_shutdown_t *request = mp_alloc(sizeof *request);
  request->data = stream;
  if (uv_shutdown(request, &stream->uv.stream, shut_down) < 0)
    free(request);
  else
    stream->refs++;
}

static void eof_character_written(void *data, const mp_error *err) {
  (void)data;
  (void)err;
}

static void end_terminal(mp_stream *stream) {
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  mp_op *op;
  struct termios modes;
  char eof = 4;
  if (tcgetattr(mp_stream_fd(stream), &modes) == 0)
    eof = (char)modes.c_cc[VEOF];
  mp_stream_write(stream, &eof, 1, eof_character_written, NULL, &op, &ignored);
}

void mp_stream_end(mp_stream *stream) {
  if (stream->ending || uv_is_closing(&stream->uv.handle))
    return;
  if (stream->kind == MP_STREAM_TERMINAL)
    end_terminal(stream);
  stream->ending = true;
  if (stream->kind == MP_STREAM_SOCKET)
    end_socket(stream);
  finish_write_side(stream);
}
