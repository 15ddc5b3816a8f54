/* Bytes <-> messages. libwslay reads from `in` and writes into `out`, both filled and emptied here.
 * Its callbacks only mark what happened; what follows from it comes after it has returned. */
#include "websocket_internal.h"

#include "encode.h"
#include "mem.h"

#include <stdlib.h>
#include <string.h>

#define USUAL_FRAME (64u << 10) /* bytes made room for on the word of a frame's header */
#define WAITING_CONTROLS 16     /* pongs that may wait for a peer that pings and does not read */
#define GOODBYE_MS 2000         /* for our half of a good-bye that the peer has begun */

void mp_websocket_free_message_(mp_websocket_message *message) {
  if (message)
    mp_buf_free(&message->bytes);
  free(message);
}

/* -- Reading ---------------------------------------------------------------------------------- */

static size_t queued(const mp_websocket *self) {
  return self->api->get_queued_msg_count(self->frames);
}

bool mp_websocket_wants_input_(const mp_websocket *self) {
  return self->phase == MP_WEBSOCKET_OPEN && !self->at_end && !self->lost.domain &&
         !self->too_long && (!self->held_up || self->close_due > 0) &&
         (queued(self) <= WAITING_CONTROLS || self->cut.domain);
}

static bool refill(mp_websocket *self) {
  if (self->budget == 0)
    return false;
  self->in_at = self->in_len = 0;
  switch (mp_http_receive(self->http, self->in, sizeof self->in, &self->in_len, &self->lost)) {
  case MP_HTTP_MOVED:
    mp_websocket_heard_(self);
    self->budget -= self->in_len < self->budget ? self->in_len : self->budget;
    return true;
  case MP_HTTP_AGAIN:
    self->drained = true;
    break;
  case MP_HTTP_END:
  case MP_HTTP_FAILED:
    self->at_end = true;
    break;
  }
  self->in_len = 0;
  return false;
}

static ssize_t give_bytes(wslay_event_context_ptr frames, uint8_t *to, size_t room, int flags,
                          void *data) {
  mp_websocket *self = data;
  (void)flags;
  if (!mp_websocket_wants_input_(self) || (self->in_at == self->in_len && !refill(self))) {
    self->api->set_error(frames, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  size_t count = self->in_len - self->in_at;
  if (count > room)
    count = room;
  memcpy(to, self->in + self->in_at, count);
  self->in_at += count;
  return (ssize_t)count;
}

static void frame_began(wslay_event_context_ptr frames,
                        const struct wslay_event_on_frame_recv_start_arg *frame, void *data) {
  mp_websocket *self = data;
  (void)frames;
  self->in_data_frame = !wslay_is_ctrl_frame(frame->opcode);
  if (!self->in_data_frame)
    return;
  if (frame->payload_length > self->max_message - self->partial.len) {
    self->too_long = true;
    return;
  }
  size_t len = (size_t)frame->payload_length;
  mp_buf_reserve(&self->partial, len < USUAL_FRAME ? len : USUAL_FRAME);
}

static void frame_goes_on(wslay_event_context_ptr frames,
                          const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *data) {
  mp_websocket *self = data;
  (void)frames;
  if (self->in_data_frame && !self->too_long)
    mp_buf_append(&self->partial, chunk->data, chunk->data_length);
}

static void keep_message(mp_websocket *self, mp_websocket_kind kind) {
  mp_websocket_message *message = mp_alloc(sizeof *message);
  message->kind = kind;
  mp_buf_append(&self->partial, "", 0); /* never NULL */
  message->bytes = self->partial;
  self->partial = MP_BUF_INIT;
  if (self->close_due > 0) { /* we are closing: nobody will ask for it */
    mp_websocket_free_message_(message);
    return;
  }
  STAILQ_INSERT_TAIL(&self->inbox, message, link);
  self->inbox_bytes += message->bytes.len + MP_WEBSOCKET_MESSAGE_COST;
  self->held_up = self->inbox_bytes >= self->buffer;
}

/* The code in network order, then a reason that may not be shown as it is where it is no UTF-8; it
 * always is, as libwslay has checked. */
static void keep_close(mp_websocket *self, const struct wslay_event_on_msg_recv_arg *message) {
  self->close_code = message->status_code ? message->status_code : MP_WEBSOCKET_NO_CODE;
  if (message->msg_length > 2) {
    size_t len = message->msg_length - 2;
    memcpy(self->close_reason, message->msg + 2, len);
    self->close_reason[len] = '\0';
  }
  if (self->close_due == 0)
    self->close_due = mp_loop_now(self->loop) + GOODBYE_MS;
}

static void message_came(wslay_event_context_ptr frames,
                         const struct wslay_event_on_msg_recv_arg *message, void *data) {
  mp_websocket *self = data;
  (void)frames;
  switch (message->opcode) {
  case WSLAY_TEXT_FRAME:
    keep_message(self, MP_WEBSOCKET_TEXT);
    break;
  case WSLAY_BINARY_FRAME:
    keep_message(self, MP_WEBSOCKET_BINARY);
    break;
  case WSLAY_CONNECTION_CLOSE:
    keep_close(self, message);
    break;
  case WSLAY_PONG:
    mp_websocket_ponged_(self, message->msg, message->msg_length);
    break;
  default:
    break;
  }
}

/* Whose doing it was, as far as this end knows, and since when there was nothing. */
static void input_ended(mp_websocket *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  double silent = (double)(mp_loop_now(self->loop) - self->heard_at) / 1000;
  const char *cut = self->cut.domain ? "; sending had failed: " : "";
  const char *how = self->cut.domain ? self->cut.message : "";
  if (self->lost.domain)
    mp_error_set(&err, self->lost.domain, self->lost.code,
                 "%s, %.3g s after it was last heard of%s%s", self->lost.message, silent, cut, how);
  else
    mp_error_set(&err, MP_WEBSOCKET, "closed",
                 "`%s` ended the connection without a good-bye, %.3g s after it was last heard "
                 "of%s%s",
                 self->url, silent, cut, how);
  if (self->lost.hint)
    mp_error_hint(&err, "%s", self->lost.hint);
  mp_websocket_fail_with_(self, &err);
}

/* libwslay has queued a close of its own that says what was wrong. */
static void rules_broken(mp_websocket *self) {
  mp_websocket_write_frames_(self);
  mp_websocket_fail_(self, MP_PROTOCOL, "`%s` does not keep to the WebSocket protocol", self->url);
}

static void message_too_long(mp_websocket *self) {
  self->api->queue_close(self->frames, WSLAY_CODE_MESSAGE_TOO_BIG, NULL, 0);
  mp_websocket_write_frames_(self);
  mp_websocket_fail_(self, MP_LIMIT, "`%s` sent a message of more than %zu bytes", self->url,
                     self->max_message);
  mp_error_hint(&self->error, "raise `max_message`");
}

void mp_websocket_read_frames_(mp_websocket *self) {
  if (!mp_websocket_wants_input_(self))
    return;
  self->drained = false;
  int rc = self->api->recv(self->frames);
  if (self->too_long)
    message_too_long(self);
  else if (self->close_code > 0)
    return; /* our answer is queued */
  else if (rc != 0 || !self->api->get_read_enabled(self->frames))
    rules_broken(self);
  else if (self->at_end)
    input_ended(self);
}

/* -- Writing ---------------------------------------------------------------------------------- */

/* Bytes are added only while none is on its way: those must stay where they are. */
static ssize_t take_bytes(wslay_event_context_ptr frames, const uint8_t *bytes, size_t len,
                          int flags, void *data) {
  mp_websocket *self = data;
  (void)flags;
  size_t room = self->out_at == 0 ? sizeof self->out - self->out_len : 0;
  if (room == 0) {
    self->api->set_error(frames, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  size_t count = len < room ? len : room;
  memcpy(self->out + self->out_len, bytes, count);
  self->out_len += count;
  return (ssize_t)count;
}

static int make_mask(wslay_event_context_ptr frames, uint8_t *to, size_t len, void *data) {
  (void)frames;
  (void)data;
  mp_random(to, len);
  return 0;
}

static void message_handed_on(mp_websocket *self) {
  mp_websocket_sending *sending;
  TAILQ_FOREACH(sending, &self->sends, link) {
    if (sending->begun && !sending->sent) {
      sending->sent = true;
      break;
    }
  }
  self->message_under_way = false;
}

static mp_websocket_sending *next_to_send(const mp_websocket *self) {
  mp_websocket_sending *sending;
  TAILQ_FOREACH(sending, &self->sends, link) {
    if (!sending->begun && !sending->cancelled)
      break;
  }
  return sending;
}

static void begin_message(mp_websocket *self, mp_websocket_sending *sending) {
  struct wslay_event_msg message = {
      .opcode = sending->kind == MP_WEBSOCKET_TEXT ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
      .msg = (const uint8_t *)sending->bytes,
      .msg_length = sending->len,
  };
  if (self->api->queue_msg(self->frames, &message) != 0)
    return; /* a close is on its way: completed as `closed` with it */
  sending->begun = true;
  self->message_under_way = true;
  mp_websocket_data_sent_(self);
}

/* One message at a time, so that it is known when each is through; our close behind all. */
static void queue_next(mp_websocket *self) {
  if (queued(self) > 0)
    return;
  if (self->message_under_way)
    message_handed_on(self);
  mp_websocket_sending *next = next_to_send(self);
  if (next) {
    begin_message(self, next);
  } else if (self->own_code > 0 && !self->close_queued) {
    self->close_queued = true;
    self->api->queue_close(self->frames, (uint16_t)self->own_code,
                           (const uint8_t *)self->own_reason, strlen(self->own_reason));
  }
}

/* False when there is nothing. */
static bool fill_out(mp_websocket *self) {
  self->out_at = self->out_len = 0;
  for (;;) {
    size_t before = self->out_len;
    queue_next(self);
    if (!self->api->want_write(self->frames))
      break;
    self->api->send(self->frames);
    if (self->out_len == before || self->out_len == sizeof self->out)
      break;
  }
  return self->out_len > 0;
}

void mp_websocket_write_frames_(mp_websocket *self) {
  self->stalled = false;
  while (!self->cut.domain && (self->out_at < self->out_len || fill_out(self))) {
    size_t sent = 0;
    switch (mp_http_transmit(self->http, self->out + self->out_at, self->out_len - self->out_at,
                             &sent, &self->cut)) {
    case MP_HTTP_MOVED:
      self->out_at += sent;
      break;
    case MP_HTTP_AGAIN:
      self->stalled = true;
      return;
    default:
      break; /* `cut` says why */
    }
  }
}

/* -- Beginning -------------------------------------------------------------------------------- */

int mp_websocket_begin_frames_(mp_websocket *self, mp_error *err) {
  static const struct wslay_event_callbacks callbacks = {
      .recv_callback = give_bytes,
      .send_callback = take_bytes,
      .genmask_callback = make_mask,
      .on_frame_recv_start_callback = frame_began,
      .on_frame_recv_chunk_callback = frame_goes_on,
      .on_msg_recv_callback = message_came,
  };
  if (self->api->context_client_init(&self->frames, &callbacks, self) != 0)
    return mp_error_set(err, MP_WEBSOCKET, "failed", "libwslay could not begin");
  self->api->config_set_no_buffering(self->frames, 1);
  /* Ours is the limit that counts; control frames have 125 bytes at most anyway. */
  self->api->config_set_max_recv_msg_length(self->frames, UINT64_MAX >> 1);
  mp_websocket_heard_(self);
  self->next_ping = self->heard_at + self->ping_ms;
  if (self->ping_ms > 0)
    mp_websocket_watch_network_(self);
  return 0;
}
