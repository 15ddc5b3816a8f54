/* Who is still there: pings, and what the kernel knows of the connection. */
#include "websocket_internal.h"

#include "mem.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define DEAD_AFTER 3 /* times ping_ms without a byte */
/* And so many looks, ping_ms apart: a process that was stopped has not asked. */
#define ASKED_LEAST 2

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
  if (self->asked > 0 && silent >= self->ping_ms && !tcp_answers(self, self->ping_ms))
    return true;
  if (silent < self->ping_ms * DEAD_AFTER || self->asked < ASKED_LEAST)
    return false;
  return !self->may_stall || self->ponged_id >= self->needed_id;
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

/* Not sooner than it has to: where the peer has closed and what it sent is still on its way, any
 * byte of ours takes that back. */
static void check_peer(mp_websocket *self, uint64_t now) {
  if (!mp_websocket_wants_input_(self))
    mp_websocket_heard_(self); /* it is us who do not listen */
  uint64_t silent = now - self->heard_at;
  if (silent < self->ping_ms) {
    self->next_ping = self->heard_at + self->ping_ms;
    return;
  }
  self->next_ping = now + self->ping_ms;
  if (is_dead(self, silent)) {
    mp_websocket_fail_(self, MP_TIMEOUT, "nothing was heard of `%s` for %.3g s", self->url,
                       (double)silent / 1000);
    mp_error_hint(&self->error, "it does not answer pings: the peer or the way to it is gone");
  } else {
    ask(self);
  }
}

/* A network that is gone shows without a ping. Other sockets than TCP's have none of this. */
void mp_websocket_watch_network_(const mp_websocket *self) {
  int fd = mp_http_socket(self->http), on = 1, probes = 2;
  int seconds = (int)(self->ping_ms / 3000 < 3600 ? self->ping_ms / 3000 : 3600);
  if (seconds < 1)
    seconds = 1;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
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
