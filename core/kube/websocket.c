#include "websocket.h"

#include "core/mem.h"
#include "internal.h"

#include <stdlib.h>

/* What the server said to the first try. */
typedef struct {
  mp_error err;
  mp_websocket_refusal refusal;
} answer;

typedef struct {
  mp_op op; /* first */
  mp_kube *kube;
  char *path;
  mp_http_options http; /* the timeouts */
  mp_websocket_options options;
  char **protocols;
  mp_websocket_connect_cb cb;
  void *data;
  mp_op *inner;   /* what is under way */
  unsigned round; /* of the credentials that were sent */
  bool again;
  answer first;
} opening;

static void forget_answer(answer *answer) {
  mp_error_reset(&answer->err);
  free((char *)answer->refusal.reason);
  free((char *)answer->refusal.fields.data);
  free((char *)answer->refusal.body.data);
}

static mp_http_bytes copy_of(mp_http_bytes bytes) {
  return (mp_http_bytes){mp_memdup(bytes.data, bytes.len), bytes.len};
}

static void keep_answer(answer *to, const mp_websocket_refusal *refusal, const mp_error *err) {
  mp_error_copy(&to->err, err);
  to->refusal = (mp_websocket_refusal){
      .status = refusal->status,
      .reason = mp_strdup(refusal->reason),
      .fields = copy_of(refusal->fields),
      .body = copy_of(refusal->body),
  };
}

static void release(opening *self) {
  forget_answer(&self->first);
  for (size_t i = 0; i < self->options.protocol_count; i++)
    free(self->protocols[i]);
  free(self->protocols);
  free(self->path);
  mp_kube_unref(self->kube);
  free(self);
}

static void finish(opening *self, mp_websocket *websocket, const mp_websocket_refusal *refusal,
                   const mp_error *err) {
  self->cb(self->data, websocket, refusal, err);
  release(self);
}

static void answered(void *data, mp_websocket *websocket, const mp_websocket_refusal *refusal,
                     const mp_error *err);

/* What the kubelet answers is no JSON; some refuse whoever wants that. */
static const mp_http_header any_answer = {"Accept", "*/*"};

static int transmit(opening *self, mp_error *err) {
  mp_http_options http = self->http;
  http.headers = &any_answer;
  http.header_count = 1;
  mp_websocket_options options = self->options;
  if (mp_kube_fill(self->kube, self->path, &http, err) < 0)
    return -1;
  http.multiplex = false;
  options.http = &http;
  self->round = mp_kube_round(self->kube);
  return mp_websocket_connect(self->kube->loop, &options, answered, self, &self->inner, err);
}

static void prepared(void *data, const mp_error *err) {
  opening *self = data;
  mp_auto_error mp_error why = MP_ERROR_INIT;
  if (!err && self->again && mp_kube_round(self->kube) == self->round)
    finish(self, NULL, &self->first.refusal, &self->first.err); /* nothing new */
  else if (err || transmit(self, &why) < 0)
    finish(self, NULL, NULL, err ? err : &why);
}

static bool try_again(opening *self, const mp_websocket_refusal *refusal, const mp_error *err) {
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  if (self->again || !refusal || refusal->status != 401 ||
      !mp_kube_refused(self->kube, self->round))
    return false;
  self->again = true;
  keep_answer(&self->first, refusal, err);
  return mp_kube_prepare(self->kube, prepared, self, &self->inner, &ignored) == 0;
}

static void answered(void *data, mp_websocket *websocket, const mp_websocket_refusal *refusal,
                     const mp_error *err) {
  opening *self = data;
  mp_auto_error mp_error told = MP_ERROR_INIT;
  if (try_again(self, refusal, err))
    return;
  if (err) {
    mp_error_copy(&told, err);
    mp_kube_explain_error(self->kube, &told);
  }
  finish(self, websocket, refusal, err ? &told : NULL);
}

static void cancel(mp_op *op) {
  mp_op_cancel(((opening *)op)->inner);
}

static opening *make(mp_kube *kube, const char *path, const mp_websocket_options *options) {
  opening *self = mp_alloc(sizeof *self);
  self->op.cancel = cancel;
  self->kube = kube;
  self->path = mp_strdup(path);
  self->http = MP_HTTP_OPTIONS_INIT;
  if (options->http) {
    self->http.connect_timeout_ms = options->http->connect_timeout_ms;
    self->http.timeout_ms = options->http->timeout_ms;
  }
  self->options = *options;
  self->protocols = mp_calloc(options->protocol_count + 1, sizeof *self->protocols);
  for (size_t i = 0; i < options->protocol_count; i++)
    self->protocols[i] = mp_strdup(options->protocols[i]);
  self->options.protocols = (const char *const *)self->protocols;
  kube->refs++;
  return self;
}

int mp_kube_websocket(mp_kube *kube, const char *path, const mp_websocket_options *options,
                      mp_websocket_connect_cb cb, void *data, mp_op **op, mp_error *err) {
  opening *self = make(kube, path, options);
  self->cb = cb;
  self->data = data;
  int rc = mp_kube_is_ready(kube) ? transmit(self, err)
                                  : mp_kube_prepare(kube, prepared, self, &self->inner, err);
  if (rc < 0) {
    release(self);
    return -1;
  }
  *op = &self->op;
  return 0;
}
