#include "process_internal.h"

#include "mem.h"

#include <stdlib.h>

#define DEFAULT_LIMIT ((size_t)16 * 1024 * 1024)
#define DEFAULT_GRACE 5000

typedef struct {
  mp_op op;
  mp_loop *loop;
  mp_process *process;
  mp_process_result result;
  mp_error err; /* why it was stopped */
  size_t limit;
  bool truncate;
  uint64_t grace;
  uint64_t timeout;
  mp_op *timer;
  unsigned open; /* the process and each captured output that have not ended */
  mp_process_run_cb cb;
  void *data;
  unsigned refs; /* the run itself and its timer */
} run;

static void unref(run *self) {
  if (--self->refs > 0)
    return;
  mp_buf_free(&self->result.out);
  mp_buf_free(&self->result.err);
  mp_error_reset(&self->err);
  free(self);
}

/* Only what was stopped can turn out to be stuck, so there is an error already. */
static void add_stuck(run *self) {
  mp_error stuck = MP_ERROR_INIT;
  if (mp_process_explain_stuck_(self->process, &stuck) == 0)
    return;
  free(self->err.hint);
  self->err.hint = mp_strdup(stuck.hint);
  self->err.cause = mp_alloc(sizeof stuck);
  *self->err.cause = stuck;
}

static void finish(run *self) {
  add_stuck(self);
  self->result.exit = *mp_process_exited(self->process);
  mp_process_close(self->process);
  self->process = NULL;
  if (self->timer)
    mp_op_cancel(self->timer);
  self->cb(self->data, &self->result, self->err.domain ? &self->err : NULL);
  unref(self);
}

static void one_ended(void *data) {
  run *self = data;
  if (--self->open == 0)
    finish(self);
}

/* The first reason to stop is the one that is reported. */
static void stop(run *self) {
  mp_process_stop(self->process, self->grace);
}

static void capture(run *self, mp_buf *to, const char *bytes, size_t len, const char *name) {
  size_t room = self->limit - to->len;
  mp_buf_append(to, bytes, len < room ? len : room);
  if (len <= room || self->result.truncated)
    return;
  self->result.truncated = true;
  if (self->truncate || self->err.domain)
    return;
  mp_error_set(&self->err, MP_PROCESS, MP_LIMIT, "%s has more than %zu bytes", name, self->limit);
  mp_error_hint(&self->err, "raise `limit`, keep the beginning with `truncate`, or read it as a "
                            "stream");
  stop(self);
}

static void on_out(void *data, const char *bytes, size_t len) {
  run *self = data;
  if (bytes)
    capture(self, &self->result.out, bytes, len, "stdout");
  else
    one_ended(self);
}

static void on_err(void *data, const char *bytes, size_t len) {
  run *self = data;
  if (bytes)
    capture(self, &self->result.err, bytes, len, "stderr");
  else
    one_ended(self);
}

static void timed_out(void *data, bool cancelled) {
  run *self = data;
  self->timer = NULL;
  if (!cancelled && self->err.domain == NULL) {
    mp_error_set(&self->err, MP_PROCESS, MP_TIMEOUT, "process %d took longer than %.3g s",
                 (int)mp_process_pid(self->process), (double)self->timeout / 1000);
    stop(self);
  }
  unref(self);
}

static void cancel_run(mp_op *op) {
  run *self = (run *)op;
  if (self->err.domain)
    return;
  mp_error_set(&self->err, MP_PROCESS, MP_CANCELLED, "process %d was cancelled",
               (int)mp_process_pid(self->process));
  stop(self);
}

/* A child that does not want its input, or not all of it, has not failed by that. */
static void input_written(void *data, const mp_error *err) {
  (void)data;
  (void)err;
}

static void give_input(mp_stream *in, const mp_process_run_options *options) {
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  mp_op *op;
  if (options->input_len > 0)
    mp_stream_write(in, options->input, options->input_len, input_written, NULL, &op, &ignored);
  mp_stream_end(in);
}

int mp_process_run(mp_loop *loop, const mp_process_run_options *options, mp_process_run_cb cb,
                   void *data, mp_op **op, mp_error *err) {
  mp_process *process;
  if (mp_process_spawn(loop, &options->spawn, &process, err) < 0)
    return -1;
  run *self = mp_alloc(sizeof *self);
  self->op.cancel = cancel_run;
  self->loop = loop;
  self->process = process;
  self->limit = options->limit ? options->limit : DEFAULT_LIMIT;
  self->truncate = options->truncate;
  self->grace = options->grace ? options->grace : DEFAULT_GRACE;
  self->timeout = options->timeout;
  self->cb = cb;
  self->data = data;
  self->refs = 1;
  self->open = 1;
  mp_process_on_ended_(process, one_ended, self);
  if (mp_process_out(process)) {
    self->open++;
    mp_stream_push(mp_process_out(process), on_out, self);
  }
  if (mp_process_err(process)) {
    self->open++;
    mp_stream_push(mp_process_err(process), on_err, self);
  }
  if (mp_process_in(process))
    give_input(mp_process_in(process), options);
  if (options->timeout > 0) {
    self->refs++;
    self->timer = mp_timer_start(loop, options->timeout, timed_out, self);
  }
  *op = &self->op;
  return 0;
}
