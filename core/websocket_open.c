/* From options to an open connection: libcurl connects, the upgrade is asked for, the answer read.
 */
#include "websocket_internal.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>

static void wipe(mp_buf *buf) {
  if (buf->data)
    explicit_bzero(buf->data, buf->cap);
  mp_buf_free(buf);
}

void mp_websocket_forget_opening_(mp_websocket *self) {
  wipe(&self->request);
  mp_websocket_answer_reset(&self->answer);
  for (char **at = self->protocols; at && *at; at++)
    free(*at);
  free(mp_steal(self->protocols));
}

/* -- The request ------------------------------------------------------------------------------ */

static void send_request(mp_websocket *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  self->stalled = false;
  while (self->requested < self->request.len) {
    size_t sent = 0;
    switch (mp_http_transmit(self->http, self->request.data + self->requested,
                             self->request.len - self->requested, &sent, &err)) {
    case MP_HTTP_MOVED:
      self->requested += sent;
      break;
    case MP_HTTP_AGAIN:
      self->stalled = true;
      return;
    default:
      /* The server may have refused before it had read everything. */
      self->requested = self->request.len;
      return;
    }
  }
}

/* -- The answer ------------------------------------------------------------------------------- */

static void refuse(mp_websocket *self) {
  const mp_websocket_answer *answer = &self->answer;
  mp_websocket_fail_(self, "refused", "`%s` answered %d %s", self->url, answer->status,
                     mp_websocket_answer_reason(answer));
  mp_http_field to;
  if (answer->status >= 300 && answer->status < 400 &&
      mp_http_find_field(mp_websocket_answer_fields(answer), "Location", &to))
    mp_error_hint(&self->error, "it redirects to `%.*s`; where that is meant, connect there",
                  (int)to.value_len, to.value);
}

static void accept_answer(mp_websocket *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  const char *protocol = NULL;
  if (self->answer.status != 101) {
    refuse(self);
    return;
  }
  if (mp_websocket_answer_check(&self->answer, self->key, (const char *const *)self->protocols,
                                self->protocol_count, &protocol, &err) < 0 ||
      mp_websocket_begin_frames_(self, &err) < 0) {
    mp_websocket_fail_with_(self, &err);
    return;
  }
  self->protocol = mp_strdup(protocol);
  self->phase = MP_WEBSOCKET_OPEN;
}

/* Takes what is in `in`; frames may follow the answer at once. */
static void feed(mp_websocket *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  size_t used;
  if (mp_websocket_answer_feed(&self->answer, self->in + self->in_at, self->in_len - self->in_at,
                               &used, &err) < 0) {
    mp_websocket_fail_with_(self, &err);
    return;
  }
  self->in_at += used;
  if (self->answer.state == MP_ANSWER_COMPLETE)
    accept_answer(self);
}

static void answer_ended(mp_websocket *self, mp_error *lost) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  if (mp_websocket_answer_end(&self->answer, &err) == 0)
    accept_answer(self);
  else
    mp_websocket_fail_with_(self, lost->domain ? lost : &err);
}

static void read_answer(mp_websocket *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  while (self->phase == MP_WEBSOCKET_ASKING) {
    self->in_at = self->in_len = 0;
    switch (mp_http_receive(self->http, self->in, sizeof self->in, &self->in_len, &err)) {
    case MP_HTTP_MOVED:
      feed(self);
      break;
    case MP_HTTP_AGAIN:
      self->in_len = 0;
      return;
    default:
      self->in_len = 0;
      answer_ended(self, &err);
      return;
    }
  }
}

/* -- Turns and the end ------------------------------------------------------------------------ */

static void report(mp_websocket *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  const mp_websocket_answer *answer = &self->answer;
  mp_websocket_refusal refusal = {
      .status = answer->status,
      .reason = mp_websocket_answer_reason(answer),
      .fields = mp_websocket_answer_fields(answer),
      .body = {answer->body.data ? answer->body.data : "", answer->body.len},
  };
  self->opening.active = false;
  if (self->phase == MP_WEBSOCKET_OPEN) {
    mp_websocket_forget_opening_(self);
    self->on_open(self->on_open_data, self, NULL, NULL);
    return;
  }
  mp_error_move(&err, &self->error);
  bool refused = mp_error_is(&err, "refused");
  self->on_open(self->on_open_data, NULL, refused ? &refusal : NULL, &err);
  mp_websocket_free(self);
}

void mp_websocket_opening_turn_(mp_websocket *self) {
  if (self->opening.cancelled)
    mp_websocket_fail_(self, MP_CANCELLED, "connecting to `%s` was cancelled", self->url);
  if (self->phase == MP_WEBSOCKET_ASKING) {
    send_request(self);
    read_answer(self);
  }
  mp_websocket_check_times_(self);
  if (self->phase == MP_WEBSOCKET_OPEN || self->phase == MP_WEBSOCKET_CLOSED)
    report(self);
}

static void connected(void *data, const mp_error *err) {
  mp_websocket *self = data;
  self->connecting = NULL;
  if (err && self->phase == MP_WEBSOCKET_CONNECTING) {
    mp_auto_error mp_error copy = MP_ERROR_INIT;
    mp_error_copy(&copy, err);
    mp_websocket_fail_with_(self, &copy);
  } else if (self->phase == MP_WEBSOCKET_CONNECTING && mp_websocket_watch_(self) == 0) {
    self->phase = MP_WEBSOCKET_ASKING;
  }
  mp_websocket_turn_(self);
  mp_websocket_unref_(self);
}

/* -- Starting --------------------------------------------------------------------------------- */

static void cancel_opening(mp_op *op) {
  mp_websocket_waiter *waiter = (mp_websocket_waiter *)op;
  waiter->cancelled = true;
  mp_websocket_turn_later_(waiter->websocket);
}

static void copy_protocols(mp_websocket *self, const mp_websocket_options *options) {
  self->protocol_count = options->protocol_count;
  self->protocols = mp_calloc(options->protocol_count + 1, sizeof *self->protocols);
  for (size_t i = 0; i < options->protocol_count; i++)
    self->protocols[i] = mp_strdup(options->protocols[i]);
}

static int start(mp_websocket *self, const mp_websocket_options *options, mp_error *err) {
  mp_auto_free char *url = NULL;
  if (mp_websocket_make_request_(self, options, &url, err) < 0)
    return -1;
  mp_http_options http = *options->http;
  http.url = url;
  http.method = NULL;
  http.body_kind = MP_HTTP_BODY_NONE;
  http.stream = false;
  http.timeout_ms = 0;
  http.idle_timeout_ms = 0;
  if (mp_http_connect(self->loop, &http, &self->http, err) < 0)
    return -1;
  self->refs++; /* `connected` drops it */
  return mp_http_wait(self->http, connected, self, &self->connecting, err);
}

static mp_websocket *make(mp_loop *loop, const mp_websocket_options *options) {
  mp_websocket *self = mp_alloc(sizeof *self);
  self->loop = loop;
  self->refs = 3;
  STAILQ_INIT(&self->inbox);
  TAILQ_INIT(&self->sends);
  self->buffer = options->buffer ? options->buffer : MP_WEBSOCKET_BUFFER;
  self->max_message = options->max_message ? options->max_message : MP_WEBSOCKET_MAX_MESSAGE;
  self->ping_ms = options->ping_ms;
  self->may_stall = options->may_stall;
  uv_timer_init(&loop->uv, &self->timer);
  uv_idle_init(&loop->uv, &self->kick);
  self->timer.data = self->kick.data = self->poll.data = self;
  copy_protocols(self, options);
  return self;
}

int mp_websocket_connect(mp_loop *loop, const mp_websocket_options *options,
                         mp_websocket_connect_cb cb, void *data, mp_op **op, mp_error *err) {
  const mp_wslay_api *api = mp_wslay_load(err);
  if (!api)
    return -1;
  mp_websocket *self = make(loop, options);
  self->api = api;
  if (start(self, options, err) < 0) {
    mp_websocket_free(self);
    return -1;
  }
  uint64_t limit = options->http->timeout_ms ? options->http->timeout_ms : MP_WEBSOCKET_OPEN_MS;
  self->opening = (mp_websocket_waiter){{cancel_opening}, self, true, false};
  self->opening_due = mp_loop_now(loop) + limit;
  self->on_open = cb;
  self->on_open_data = data;
  mp_websocket_arm_(self);
  *op = &self->opening.op;
  return 0;
}
