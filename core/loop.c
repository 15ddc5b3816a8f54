#include "loop.h"

#include "mem.h"

#include <stdio.h>
#include <stdlib.h>

int mp_loop_init(mp_loop *loop, mp_error *err) {
  *loop = (mp_loop){0};
  int rc = uv_loop_init(&loop->uv);
  return rc < 0 ? mp_error_errno(err, "loop", rc, "could not make the event loop") : 0;
}

void mp_loop_run(mp_loop *loop) {
  uv_run(&loop->uv, UV_RUN_DEFAULT);
}

static void report_open_handle(uv_handle_t *handle, void *data) {
  (void)data;
  fprintf(stderr, "moonport: an open %s handle was left at the end of the loop\n",
          uv_handle_type_name(handle->type));
}

void mp_loop_close(mp_loop *loop) {
  if (loop->http_close)
    loop->http_close(loop);
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  if (uv_loop_close(&loop->uv) < 0) {
    uv_walk(&loop->uv, report_open_handle, NULL);
    abort();
  }
}

uint64_t mp_loop_now(mp_loop *loop) {
  return uv_now(&loop->uv);
}

typedef struct {
  mp_op op;
  uv_timer_t timer;
  mp_timer_cb cb;
  void *data;
  bool cancelled;
} timer_op;

static void timer_closed(uv_handle_t *handle) {
  timer_op *self = handle->data;
  self->cb(self->data, self->cancelled);
  free(self);
}

static void timer_fired(uv_timer_t *timer) {
  if (!uv_is_closing((uv_handle_t *)timer))
    uv_close((uv_handle_t *)timer, timer_closed);
}

static void timer_cancel(mp_op *op) {
  timer_op *self = (timer_op *)op;
  if (uv_is_closing((uv_handle_t *)&self->timer))
    return;
  self->cancelled = true;
  uv_close((uv_handle_t *)&self->timer, timer_closed);
}

mp_op *mp_timer_start(mp_loop *loop, uint64_t milliseconds, mp_timer_cb cb, void *data) {
  timer_op *self = mp_alloc(sizeof *self);
  self->op.cancel = timer_cancel;
  self->cb = cb;
  self->data = data;
  uv_timer_init(&loop->uv, &self->timer);
  self->timer.data = self;
  uv_timer_start(&self->timer, timer_fired, milliseconds, 0);
  return &self->op;
}

typedef struct {
  mp_op op;
  uv_work_t request;
  mp_work_fn work;
  mp_work_done done;
  void *data;
} work_op;

static void work_run(uv_work_t *request) {
  work_op *self = request->data;
  self->work(self->data);
}

static void work_ended(uv_work_t *request, int status) {
  work_op *self = request->data;
  self->done(self->data, status == UV_ECANCELED);
  free(self);
}

static void work_cancel(mp_op *op) {
  uv_cancel((uv_req_t *)&((work_op *)op)->request);
}

mp_op *mp_work_start(mp_loop *loop, mp_work_fn work, mp_work_done done, void *data) {
  work_op *self = mp_alloc(sizeof *self);
  self->op.cancel = work_cancel;
  self->work = work;
  self->done = done;
  self->data = data;
  self->request.data = self;
  uv_queue_work(&loop->uv, &self->request, work_run, work_ended);
  return &self->op;
}
