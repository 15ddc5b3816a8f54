/* One exchange, with a second try after a 401. */
#include "internal.h"

#include "core/mem.h"

#include <stdlib.h>

typedef struct {
  mp_op op; /* first */
  mp_kube *kube;
  mp_http_options request; /* a copy, to send it again; its url is the path */
  mp_kube_send_cb cb;
  void *data;
  mp_op *inner; /* what is under way */
  mp_http *http;
  unsigned round; /* of the credentials it was sent with */
  bool again;
} sending;

static void release(sending *self) {
  mp_http_options_free(&self->request);
  mp_http_free(self->http);
  mp_kube_unref(self->kube);
  free(self);
}

static void finish(sending *self, const mp_error *err) {
  mp_kube_send_cb cb = self->cb;
  void *data = self->data;
  mp_http *http = err ? NULL : mp_steal(self->http);
  release(self);
  cb(data, http, err);
}

static void answered(void *data, const mp_error *err);

/* Fills the request in and starts it. */
static int transmit(sending *self, mp_error *err) {
  mp_http_options options = self->request;
  if (mp_kube_fill(self->kube, self->request.url, &options, err) < 0)
    return -1;
  self->round = mp_kube_round(self->kube);
  if (mp_http_start(self->kube->loop, &options, &self->http, err) < 0)
    return -1;
  return mp_http_wait(self->http, answered, self, &self->inner, err);
}

static void prepared(void *data, const mp_error *err) {
  sending *self = data;
  mp_auto_error mp_error why = MP_ERROR_INIT;
  if (!err && self->http && mp_kube_round(self->kube) == self->round) {
    finish(self, NULL); /* nothing new: the 401 is the answer */
    return;
  }
  mp_http_free(mp_steal(self->http));
  if (!err && transmit(self, &why) == 0)
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

static void answered(void *data, const mp_error *err) {
  sending *self = data;
  mp_auto_error mp_error told = MP_ERROR_INIT;
  if (err) {
    mp_error_copy(&told, err);
    mp_kube_explain_error(self->kube, &told);
    finish(self, &told);
  } else if (!try_again(self)) {
    finish(self, NULL);
  }
}

static void cancel(mp_op *op) {
  mp_op_cancel(((sending *)op)->inner);
}

int mp_kube_send(mp_kube *kube, const mp_http_options *request, mp_kube_send_cb cb, void *data,
                 mp_op **op, mp_error *err) {
  sending *self = mp_alloc(sizeof *self);
  *self = (sending){.op = {cancel}, .kube = kube, .cb = cb, .data = data};
  kube->refs++;
  mp_http_options_copy(&self->request, request);
  int rc = mp_kube_is_ready(kube) ? transmit(self, err)
                                  : mp_kube_prepare(kube, prepared, self, &self->inner, err);
  if (rc < 0) {
    release(self);
    return -1;
  }
  *op = &self->op;
  return 0;
}
