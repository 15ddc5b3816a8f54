/* One exchange, with a second try after a 401.
 *
 * So many that one HTTP/2 connection carries them wait for their answers at once; the rest wait
 * here, in order. libcurl would open further connections for them, and look through all that wait
 * whenever one ends. Streams count only until their headers have come. */
#include "internal.h"

#include "core/mem.h"

#include <stdlib.h>

#define AT_ONCE_MOST 64

struct sending {
  mp_op op; /* first */
  mp_kube *kube;
  mp_http_options request; /* a copy, to send it again; its url is the path */
  mp_kube_send_cb cb;
  void *data;
  mp_op *inner; /* what is under way */
  mp_http *http;
  unsigned round; /* of the credentials it was sent with */
  bool again;
  bool counted; /* among those that wait for their answers */
  bool queued;
  TAILQ_ENTRY(sending) link;
};

typedef struct sending sending;

static void release(sending *self) {
  mp_http_options_free(&self->request);
  mp_http_free(self->http);
  mp_kube_unref(self->kube);
  free(self);
}

/* The client is still there in the callback, also where its owner has closed it. */
static void finish(sending *self, const mp_error *err) {
  self->cb(self->data, err ? NULL : mp_steal(self->http), err);
  release(self);
}

/* ---- taking turns --------------------------------------------------------------------------- */

static void answered(void *data, const mp_error *err);

/* Fills the request in and starts it. */
static int transmit(sending *self, mp_error *err) {
  mp_http_options options = self->request;
  if (mp_kube_fill(self->kube, self->request.url, &options, err) < 0)
    return -1;
  self->round = mp_kube_round(self->kube);
  if (mp_http_start(self->kube->loop, &options, &self->http, err) < 0)
    return -1;
  if (mp_http_wait(self->http, answered, self, &self->inner, err) < 0)
    return -1;
  self->counted = true;
  self->kube->at_once++;
  return 0;
}

static void leave_queue(sending *self) {
  self->queued = false;
  TAILQ_REMOVE(&self->kube->queue, self, link);
}

static int transmit_in_turn(sending *self, mp_error *err) {
  mp_kube *kube = self->kube;
  if (kube->at_once < AT_ONCE_MOST && TAILQ_EMPTY(&kube->queue))
    return transmit(self, err);
  self->inner = NULL;
  self->queued = true;
  TAILQ_INSERT_TAIL(&kube->queue, self, link);
  return 0;
}

/* Called with a reference to the client held, since it may end what it starts. */
static void start_queued(mp_kube *kube) {
  sending *next;
  while (kube->at_once < AT_ONCE_MOST && (next = TAILQ_FIRST(&kube->queue))) {
    mp_auto_error mp_error why = MP_ERROR_INIT;
    leave_queue(next);
    if (transmit(next, &why) < 0)
      finish(next, &why);
  }
}

static void leave_turn(sending *self) {
  self->counted = false;
  self->kube->at_once--;
}

/* ---- the way of one ------------------------------------------------------------------------- */

static void prepared(void *data, const mp_error *err) {
  sending *self = data;
  mp_auto_error mp_error why = MP_ERROR_INIT;
  if (!err && self->http && mp_kube_round(self->kube) == self->round) {
    finish(self, NULL); /* nothing new: the 401 is the answer */
    return;
  }
  mp_http_free(mp_steal(self->http));
  if (!err && transmit_in_turn(self, &why) == 0)
    return;
  finish(self, err ? err : &why);
}

static bool try_again(sending *self) {
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  if (self->again || mp_http_response_of(self->http)->status != 401 ||
      !mp_kube_refused(self->kube, self->round))
    return false;
  self->again = true;
  return mp_kube_prepare(self->kube, prepared, self, &self->inner, &ignored) == 0;
}

static void take_answer(sending *self, const mp_error *err) {
  mp_auto_error mp_error told = MP_ERROR_INIT;
  if (err) {
    mp_error_copy(&told, err);
    mp_kube_explain_error(self->kube, &told);
    finish(self, &told);
  } else if (!try_again(self)) {
    finish(self, NULL);
  }
}

static void answered(void *data, const mp_error *err) {
  sending *self = data;
  mp_kube *kube = self->kube;
  kube->refs++;
  leave_turn(self);
  take_answer(self, err);
  start_queued(kube);
  mp_kube_unref(kube);
}

static void cancelled(void *data, bool ignored) {
  (void)ignored;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, "kube", MP_CANCELLED, "the request was cancelled");
  finish(data, &err);
}

static void cancel(mp_op *op) {
  sending *self = (sending *)op;
  if (self->queued) {
    leave_queue(self);
    self->inner = mp_timer_start(self->kube->loop, 0, cancelled, self);
  } else {
    mp_op_cancel(self->inner);
  }
}

int mp_kube_send(mp_kube *kube, const mp_http_options *request, mp_kube_send_cb cb, void *data,
                 mp_op **op, mp_error *err) {
  sending *self = mp_alloc(sizeof *self);
  *self = (sending){.op = {cancel}, .kube = kube, .cb = cb, .data = data};
  kube->refs++;
  mp_http_options_copy(&self->request, request);
  int rc = mp_kube_is_ready(kube) ? transmit_in_turn(self, err)
                                  : mp_kube_prepare(kube, prepared, self, &self->inner, err);
  if (rc < 0) {
    release(self);
    return -1;
  }
  *op = &self->op;
  return 0;
}
