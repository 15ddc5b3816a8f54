#include "websocket_internal.h"

#include "encode.h"
#include "mem.h"

#include <stdlib.h>
#include <string.h>

#define TURN_BUDGET (1u << 20) /* bytes that one turn of the loop reads at most */

/* -- Lifetime --------------------------------------------------------------------------------- */

void mp_websocket_unref_(mp_websocket *self) {
  if (--self->refs > 0)
    return;
  mp_websocket_message *message;
  while ((message = STAILQ_FIRST(&self->inbox))) {
    STAILQ_REMOVE_HEAD(&self->inbox, link);
    mp_websocket_free_message_(message);
  }
  mp_websocket_free_message_(self->taken);
  mp_websocket_forget_opening_(self);
  mp_buf_free(&self->partial);
  mp_error_reset(&self->error);
  mp_error_reset(&self->lost);
  mp_error_reset(&self->cut);
  free(self->url);
  free(self->protocol);
  explicit_bzero(self->in, sizeof self->in);
  explicit_bzero(self->out, sizeof self->out);
  free(self);
}

static void handle_closed(uv_handle_t *handle) {
  mp_websocket_unref_(handle->data);
}

static void close_handle(uv_handle_t *handle) {
  if (!uv_is_closing(handle))
    uv_close(handle, handle_closed);
}

/* The poll goes before its socket does. */
void mp_websocket_end_(mp_websocket *self) {
  self->phase = MP_WEBSOCKET_CLOSED;
  if (self->polling)
    close_handle((uv_handle_t *)&self->poll);
  self->polling = false;
  mp_http_free(mp_steal(self->http));
  if (self->frames)
    self->api->context_free(mp_steal(self->frames));
}

void mp_websocket_fail_with_(mp_websocket *self, mp_error *err) {
  if (!self->error.domain && self->phase != MP_WEBSOCKET_CLOSED)
    mp_error_move(&self->error, err);
  mp_error_reset(err);
  mp_websocket_end_(self);
}

int mp_websocket_fail_(mp_websocket *self, const char *code, const char *format, ...) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  va_list args;
  va_start(args, format);
  mp_auto_free char *text = mp_vsprintf(format, args);
  va_end(args);
  mp_error_set(&err, MP_WEBSOCKET, code, "%s", text);
  mp_websocket_fail_with_(self, &err);
  return -1;
}

void mp_websocket_free(mp_websocket *websocket) {
  if (!websocket)
    return;
  websocket->freed = true;
  mp_websocket_end_(websocket);
  mp_websocket_arm_(websocket);
  mp_websocket_unref_(websocket);
}

/* -- Watching --------------------------------------------------------------------------------- */

static void socket_ready(uv_poll_t *poll, int status, int events) {
  (void)status; /* reading will tell */
  (void)events;
  mp_websocket_turn_(poll->data);
}

static void time_due(uv_timer_t *timer) {
  mp_websocket *self = timer->data;
  self->timer_due = 0;
  mp_websocket_turn_(self);
}

static void kicked(uv_idle_t *kick) {
  mp_websocket_turn_(kick->data);
}

void mp_websocket_turn_later_(mp_websocket *self) {
  if (!uv_is_closing((uv_handle_t *)&self->kick))
    uv_idle_start(&self->kick, kicked);
}

int mp_websocket_watch_(mp_websocket *self) {
  int rc = uv_poll_init(&self->loop->uv, &self->poll, mp_http_socket(self->http));
  if (rc < 0) {
    mp_auto_error mp_error err = MP_ERROR_INIT;
    mp_error_errno(&err, MP_WEBSOCKET, rc, "could not watch the connection to `%s`", self->url);
    mp_websocket_fail_with_(self, &err);
    return -1;
  }
  self->polling = true;
  self->refs++;
  return 0;
}

/* -- Who is to be called back ----------------------------------------------------------------- */

static bool over(const mp_websocket *self) {
  return self->phase == MP_WEBSOCKET_CLOSED;
}

static bool receiving_is_due(const mp_websocket *self) {
  return self->receiving.active &&
         (over(self) || self->receiving.cancelled || !STAILQ_EMPTY(&self->inbox));
}

static bool pinging_is_due(const mp_websocket *self) {
  return self->pinging.active &&
         (over(self) || self->pinging.cancelled || self->ponged_id >= self->pinging_id);
}

static bool closing_is_due(const mp_websocket *self) {
  return self->closing.active && (over(self) || self->closing.cancelled);
}

static bool sending_is_due(const mp_websocket *self, const mp_websocket_sending *sending) {
  return over(self) || sending->cancelled || sending->sent || self->cut.domain;
}

static mp_websocket_sending *due_sending(const mp_websocket *self) {
  mp_websocket_sending *sending;
  TAILQ_FOREACH(sending, &self->sends, link) {
    if (sending_is_due(self, sending))
      break;
  }
  return sending;
}

static bool anybody_is_due(const mp_websocket *self) {
  return receiving_is_due(self) || pinging_is_due(self) || closing_is_due(self) ||
         due_sending(self) || (self->opening.active && self->opening.cancelled);
}

static bool anybody_waits(const mp_websocket *self) {
  return self->opening.active || self->receiving.active || self->pinging.active ||
         self->closing.active || !TAILQ_EMPTY(&self->sends);
}

/* Why nothing more can be sent or heard. */
static void why_over(const mp_websocket *self, mp_error *err) {
  if (self->error.domain)
    mp_error_copy(err, &self->error);
  else if (self->cut.domain)
    mp_error_copy(err, &self->cut);
  else if (self->close_code > 0)
    mp_error_set(err, MP_WEBSOCKET, "closed", "`%s` has closed (%u%s%s)", self->url,
                 self->close_code, self->close_reason[0] ? ": " : "", self->close_reason);
  else
    mp_error_set(err, MP_WEBSOCKET, "closed", "the websocket to `%s` is closed", self->url);
}

/* True where the operation was cancelled, with the websocket or alone. */
static bool was_cancelled(const mp_websocket *self, bool cancelled, const char *what,
                          mp_error *err) {
  if (self->freed || cancelled)
    mp_error_set(err, MP_WEBSOCKET, MP_CANCELLED, "%s was cancelled", what);
  return self->freed || cancelled;
}

/* -- Calling back ----------------------------------------------------------------------------- */

static mp_websocket_message *next_message(mp_websocket *self) {
  mp_websocket_message *message = STAILQ_FIRST(&self->inbox);
  if (!message)
    return NULL;
  STAILQ_REMOVE_HEAD(&self->inbox, link);
  self->inbox_bytes -= message->bytes.len + MP_WEBSOCKET_MESSAGE_COST;
  if (self->inbox_bytes <= self->buffer / 2)
    self->held_up = false;
  return message;
}

static void report_receiving(mp_websocket *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_websocket_message *message = NULL;
  self->receiving.active = false;
  if (!was_cancelled(self, self->receiving.cancelled, "receiving", &err)) {
    message = next_message(self);
    if (!message && self->error.domain)
      mp_error_copy(&err, &self->error);
  }
  const char *bytes = message ? message->bytes.data : NULL;
  self->on_message(self->on_message_data, message ? message->kind : MP_WEBSOCKET_BINARY, bytes,
                   message ? message->bytes.len : 0, err.domain ? &err : NULL);
  mp_websocket_free_message_(message);
}

static void report_pinging(mp_websocket *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  self->pinging.active = false;
  if (!was_cancelled(self, self->pinging.cancelled, "the ping", &err) &&
      self->ponged_id < self->pinging_id)
    why_over(self, &err);
  self->on_pong(self->on_pong_data, err.domain ? &err : NULL);
}

static void report_closing(mp_websocket *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  self->closing.active = false;
  if (was_cancelled(self, self->closing.cancelled, "closing", &err))
    ;
  else if (self->close_late)
    mp_error_set(&err, MP_WEBSOCKET, MP_TIMEOUT, "`%s` did not say good-bye in time", self->url);
  else if (self->error.domain)
    mp_error_copy(&err, &self->error);
  self->on_closed(self->on_closed_data, err.domain ? &err : NULL);
}

static void report_sending(mp_websocket *self, mp_websocket_sending *sending) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  TAILQ_REMOVE(&self->sends, sending, link);
  if (!was_cancelled(self, sending->cancelled, "sending", &err) && !sending->sent)
    why_over(self, &err);
  sending->cb(sending->data, err.domain ? &err : NULL);
  explicit_bzero(sending->bytes, sending->len);
  free(sending);
}

/* A callback may start the next operation or free the websocket; a new receive waits for the next
 * turn, so that nobody starves the loop. */
static void call_back(mp_websocket *self) {
  mp_websocket_sending *sending;
  while ((sending = due_sending(self)))
    report_sending(self, sending);
  if (pinging_is_due(self))
    report_pinging(self);
  if (receiving_is_due(self))
    report_receiving(self);
  if (closing_is_due(self))
    report_closing(self);
}

/* -- Turns ------------------------------------------------------------------------------------ */

static bool said_good_bye(const mp_websocket *self) {
  bool heard = self->close_code > 0;
  bool said = self->api->get_close_sent(self->frames) && self->out_at == self->out_len;
  return heard && (said || self->cut.domain || self->at_end);
}

static void move_bytes(mp_websocket *self) {
  self->budget = TURN_BUDGET;
  mp_websocket_write_frames_(self);
  mp_websocket_read_frames_(self);
  if (!over(self))
    mp_websocket_write_frames_(self); /* pongs, and our half of a good-bye */
  if (!over(self) && said_good_bye(self))
    mp_websocket_end_(self);
  mp_websocket_check_times_(self);
}

static int wanted_events(const mp_websocket *self) {
  int events = self->stalled ? UV_WRITABLE : 0;
  bool reads =
      self->phase == MP_WEBSOCKET_ASKING || (mp_websocket_wants_input_(self) && self->drained);
  return events | (reads ? UV_READABLE : 0);
}

static void arm_poll(mp_websocket *self) {
  if (!self->polling)
    return;
  int events = wanted_events(self);
  if (events != self->events) {
    if (events)
      uv_poll_start(&self->poll, events, socket_ready);
    else
      uv_poll_stop(&self->poll);
  }
  self->events = events;
  if (anybody_waits(self))
    uv_ref((uv_handle_t *)&self->poll);
  else
    uv_unref((uv_handle_t *)&self->poll);
}

static void arm_timer(mp_websocket *self) {
  uint64_t due = mp_websocket_next_due_(self), now = mp_loop_now(self->loop);
  if (due == UINT64_MAX) {
    uv_timer_stop(&self->timer);
    self->timer_due = 0;
  } else if (due != self->timer_due) {
    uv_timer_start(&self->timer, time_due, due > now ? due - now : 1, 0);
    self->timer_due = due;
  }
  if (anybody_waits(self))
    uv_ref((uv_handle_t *)&self->timer);
  else
    uv_unref((uv_handle_t *)&self->timer);
}

void mp_websocket_arm_(mp_websocket *self) {
  if (uv_is_closing((uv_handle_t *)&self->kick))
    return;
  if (self->freed && !anybody_waits(self)) {
    close_handle((uv_handle_t *)&self->kick);
    close_handle((uv_handle_t *)&self->timer);
    return;
  }
  arm_poll(self);
  arm_timer(self);
  if (anybody_is_due(self) || (mp_websocket_wants_input_(self) && !self->drained))
    mp_websocket_turn_later_(self);
  else
    uv_idle_stop(&self->kick);
}

void mp_websocket_turn_(mp_websocket *self) {
  self->refs++;
  if (self->opening.active)
    mp_websocket_opening_turn_(self);
  else if (self->phase == MP_WEBSOCKET_OPEN)
    move_bytes(self);
  call_back(self);
  mp_websocket_arm_(self);
  mp_websocket_unref_(self);
}

/* -- Operations ------------------------------------------------------------------------------- */

static int busy(mp_error *err, const char *what) {
  return mp_error_set(err, MP_WEBSOCKET, "busy", "another call %s already", what);
}

static void cancel_waiter(mp_op *op) {
  mp_websocket_waiter *waiter = (mp_websocket_waiter *)op;
  waiter->cancelled = true;
  mp_websocket_turn_later_(waiter->websocket);
}

static mp_op *wait_with(mp_websocket *self, mp_websocket_waiter *waiter) {
  *waiter = (mp_websocket_waiter){{cancel_waiter}, self, true, false};
  mp_websocket_turn_later_(self);
  return &waiter->op;
}

int mp_websocket_receive(mp_websocket *websocket, mp_websocket_receive_cb cb, void *data,
                         mp_op **op, mp_error *err) {
  if (websocket->receiving.active)
    return busy(err, "receives");
  websocket->on_message = cb;
  websocket->on_message_data = data;
  *op = wait_with(websocket, &websocket->receiving);
  return 0;
}

bool mp_websocket_take(mp_websocket *websocket, mp_websocket_kind *kind, const char **bytes,
                       size_t *len) {
  if (websocket->receiving.active || STAILQ_EMPTY(&websocket->inbox))
    return false;
  mp_websocket_free_message_(websocket->taken);
  websocket->taken = next_message(websocket);
  *kind = websocket->taken->kind;
  *bytes = websocket->taken->bytes.data;
  *len = websocket->taken->bytes.len;
  mp_websocket_turn_later_(websocket);
  return true;
}

bool mp_websocket_ended(const mp_websocket *websocket) {
  return over(websocket) && !websocket->error.domain && STAILQ_EMPTY(&websocket->inbox);
}

static void cancel_sending(mp_op *op) {
  mp_websocket_sending *sending = (mp_websocket_sending *)op;
  sending->cancelled = true;
  mp_websocket_turn_later_(sending->websocket);
}

static int check_open(const mp_websocket *self, mp_error *err) {
  if (self->phase == MP_WEBSOCKET_OPEN && self->own_code == 0 && self->close_code == 0 &&
      !self->cut.domain)
    return 0;
  why_over(self, err);
  return -1;
}

int mp_websocket_send(mp_websocket *websocket, mp_websocket_kind kind, const void *bytes,
                      size_t len, mp_websocket_cb cb, void *data, mp_op **op, mp_error *err) {
  if (check_open(websocket, err) < 0)
    return -1;
  if (kind == MP_WEBSOCKET_TEXT && !mp_utf8_valid(bytes, len, NULL))
    return mp_error_set(err, MP_WEBSOCKET, MP_INVALID, "a text message has to be UTF-8");
  mp_websocket_sending *sending = mp_alloc(sizeof *sending + len);
  sending->op.cancel = cancel_sending;
  sending->websocket = websocket;
  sending->cb = cb;
  sending->data = data;
  sending->kind = kind;
  sending->len = len;
  if (len > 0)
    memcpy(sending->bytes, bytes, len);
  TAILQ_INSERT_TAIL(&websocket->sends, sending, link);
  mp_websocket_turn_later_(websocket);
  *op = &sending->op;
  return 0;
}

int mp_websocket_ping(mp_websocket *websocket, mp_websocket_cb cb, void *data, mp_op **op,
                      mp_error *err) {
  if (websocket->pinging.active)
    return busy(err, "pings");
  if (check_open(websocket, err) < 0)
    return -1;
  mp_websocket_send_ping_(websocket);
  websocket->pinging_id = websocket->ping_id;
  websocket->on_pong = cb;
  websocket->on_pong_data = data;
  *op = wait_with(websocket, &websocket->pinging);
  return 0;
}

static int check_close(unsigned code, const char *reason, mp_error *err) {
  if (code != 1000 && (code < 3000 || code > 4999))
    return mp_error_set(err, MP_WEBSOCKET, MP_INVALID,
                        "%u is no code for closing: 1000, or 3000 to 4999", code);
  size_t len = strlen(reason);
  if (len > MP_WEBSOCKET_MAX_REASON || !mp_utf8_valid(reason, len, NULL))
    return mp_error_set(err, MP_WEBSOCKET, MP_INVALID,
                        "the reason for closing is at most %d bytes of UTF-8",
                        MP_WEBSOCKET_MAX_REASON);
  return 0;
}

int mp_websocket_close(mp_websocket *websocket, unsigned code, const char *reason, uint64_t timeout,
                       mp_websocket_cb cb, void *data, mp_op **op, mp_error *err) {
  if (check_close(code, reason, err) < 0)
    return -1;
  if (websocket->closing.active)
    return busy(err, "closes");
  if (websocket->phase == MP_WEBSOCKET_OPEN && websocket->own_code == 0 &&
      websocket->close_code == 0) {
    websocket->own_code = code;
    memcpy(websocket->own_reason, reason, strlen(reason) + 1);
    websocket->close_due = mp_loop_now(websocket->loop) + (timeout ? timeout : 1);
  }
  websocket->on_closed = cb;
  websocket->on_closed_data = data;
  *op = wait_with(websocket, &websocket->closing);
  return 0;
}

const char *mp_websocket_protocol(const mp_websocket *websocket) {
  return websocket->protocol;
}

unsigned mp_websocket_close_code(const mp_websocket *websocket, const char **reason) {
  if (reason)
    *reason = websocket->close_reason;
  return websocket->close_code;
}

const char *mp_websocket_url(const mp_websocket *websocket) {
  return websocket->url;
}
