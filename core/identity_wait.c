#include "identity_wait.h"

#include "mem.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct {
  mp_op op;
  uv_poll_t poll;
  int pidfd;
  bool cancelled;
  mp_identity_wait_cb cb;
  void *data;
} identity_wait;

static void wait_closed(uv_handle_t *handle) {
  identity_wait *self = handle->data;
  close(self->pidfd);
  self->cb(self->data, self->cancelled);
  free(self);
}

static void wait_end(identity_wait *self, bool cancelled) {
  if (uv_is_closing((uv_handle_t *)&self->poll))
    return;
  self->cancelled = cancelled;
  uv_close((uv_handle_t *)&self->poll, wait_closed);
}

/* A pidfd becomes readable when its process ends. */
static void process_ended(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  wait_end(poll->data, false);
}

static void wait_cancel(mp_op *op) {
  wait_end((identity_wait *)op, true);
}

/* There is nothing to wait for; but the callback may not run before the start has returned. */
typedef struct {
  mp_identity_wait_cb cb;
  void *data;
} ended_already;

static void tell_ended(void *data, bool cancelled) {
  ended_already *self = data;
  self->cb(self->data, cancelled);
  free(self);
}

static mp_op *start_ended(mp_loop *loop, mp_identity_wait_cb cb, void *data) {
  ended_already *self = mp_alloc(sizeof *self);
  *self = (ended_already){cb, data};
  return mp_timer_start(loop, 0, tell_ended, self);
}

mp_op *mp_identity_wait_start(mp_loop *loop, const mp_identity *identity, mp_identity_wait_cb cb,
                              void *data, mp_error *err) {
  int pidfd;
  mp_auto_error mp_error why = MP_ERROR_INIT;
  if (mp_identity_open(identity, &pidfd, &why) < 0) {
    if (mp_error_is(&why, "ESRCH"))
      return start_ended(loop, cb, data);
    mp_error_move(err, &why);
    return NULL;
  }
  identity_wait *self = mp_alloc(sizeof *self);
  *self = (identity_wait){.op = {wait_cancel}, .pidfd = pidfd, .cb = cb, .data = data};
  int rc = uv_poll_init(&loop->uv, &self->poll, pidfd);
  if (rc < 0) {
    close(pidfd);
    free(self);
    mp_error_errno(err, "process", rc, "could not watch process %d", (int)identity->pid);
    return NULL;
  }
  self->poll.data = self;
  uv_poll_start(&self->poll, UV_READABLE, process_ended);
  return &self->op;
}
