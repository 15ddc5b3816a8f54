/* Who is still there: pings, and what the kernel knows of the connection. */
#include "websocket_internal.h"

#include "mem.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define DEAD_AFTER 3 /* times ping_ms without a byte */
#define ASKED_LEAST                                                                                \
  2 /* and so many looks, ping_ms apart: a process that was stopped has not asked */

/* A ping carries its number. */
void mp_websocket_send_ping_(mp_websocket *self) {
  uint64_t id = self->ping_id + 1;
  struct wslay_event_msg ping = {
      .opcode = WSLAY_PING, .msg = (const uint8_t *)&id, .msg_length = sizeof id};
  if (self->api->queue_msg(self->frames, &ping) == 0)
    self->ping_id = id;
}

void mp_websocket_ponged_(mp_websocket *self, const uint8_t *bytes, size_t len) {
  uint64_t id;
  if (len != sizeof id)
    return; /* unasked for: a heartbeat of the peer's */
  memcpy(&id, bytes, sizeof id);
  if (id > self->ponged_id && id <= self->ping_id)
    self->ponged_id = id;
}

void mp_websocket_data_sent_(mp_websocket *self) {
  self->needed_id = self->ping_id + 1;
}

/* Whether the peer's TCP still acknowledges what it is sent: data and pings, or, where its window
 * is closed, the kernel's probes of it. */
static bool tcp_answers(const mp_websocket *self, uint64_t limit) {
  struct tcp_info info;
  socklen_t len = sizeof info;
  int fd = mp_http_socket(self->http);
  memset(&info, 0, sizeof info);
  if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
    return fd >= 0; /* a Unix socket's peer is there until it is closed */
  bool unanswered = (info.tcpi_unacked > 0 && info.tcpi_retransmits > 0) || info.tcpi_probes > 1;
  return !unanswered || info.tcpi_last_ack_recv < limit;
}

static bool is_dead(const mp_websocket *self, uint64_t silent) {
  uint64_t limit = self->ping_ms * DEAD_AFTER;
  if (silent < limit || self->asked < ASKED_LEAST)
    return false;
  bool may_be_busy = self->may_stall && self->ponged_id < self->needed_id;
  return !may_be_busy || !tcp_answers(self, limit);
}

void mp_websocket_heard_(mp_websocket *self) {
  self->heard_at = mp_loop_now(self->loop);
  self->asked = 0;
}

static void ask(mp_websocket *self) {
  self->asked++;
  if (self->stalled)
    return;
  mp_websocket_send_ping_(self);
  mp_websocket_write_frames_(self);
}

static void check_peer(mp_websocket *self, uint64_t now) {
  if (!mp_websocket_wants_input_(self))
    mp_websocket_heard_(self); /* it is us who do not listen */
  uint64_t silent = now - self->heard_at;
  self->next_ping = now + self->ping_ms;
  if (is_dead(self, silent)) {
    mp_websocket_fail_(self, MP_TIMEOUT, "nothing was heard of `%s` for %.3g s", self->url,
                       (double)silent / 1000);
    mp_error_hint(&self->error, "it does not answer pings: the peer or the way to it is gone");
  } else if (silent * 2 >= self->ping_ms) {
    ask(self);
  }
}

void mp_websocket_check_times_(mp_websocket *self) {
  uint64_t now = mp_loop_now(self->loop);
  bool open = self->phase == MP_WEBSOCKET_OPEN;
  if (self->opening.active && !open && self->phase != MP_WEBSOCKET_CLOSED) {
    if (now >= self->opening_due)
      mp_websocket_fail_(self, MP_TIMEOUT, "`%s` did not answer in time", self->url);
  } else if (open && self->close_due > 0 && now >= self->close_due) {
    self->close_late = self->close_code == 0;
    mp_websocket_end_(self);
  } else if (open && self->ping_ms > 0 && now >= self->next_ping) {
    check_peer(self, now);
  }
}

uint64_t mp_websocket_next_due_(const mp_websocket *self) {
  uint64_t due = UINT64_MAX;
  if (self->phase == MP_WEBSOCKET_CLOSED)
    return due;
  if (self->phase != MP_WEBSOCKET_OPEN)
    return self->opening_due;
  if (self->close_due > 0)
    due = self->close_due;
  if (self->ping_ms > 0 && self->next_ping < due)
    due = self->next_ping;
  return due;
}
