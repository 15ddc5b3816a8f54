/* Events of nftables. The kernel's queue is the only one: nothing is read before it is asked for.
 */
#include "core/mem.h"
#include "nftables.h"
#include "socket.h"

#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <unistd.h>

struct mp_nft_monitor {
  uv_poll_t poll; /* first: a handle is its monitor */
  int fd;
  mp_buf messages;
  mp_nft_events_cb on_events;
  void *data;
};

static void closed(uv_handle_t *handle) {
  mp_nft_monitor *self = (mp_nft_monitor *)handle;
  close(self->fd);
  mp_buf_free(&self->messages);
  free(self);
}

/* Reads what there is; a queue that overflowed says so once and goes on. */
static void on_readable(uv_poll_t *poll, int status, int events) {
  mp_nft_monitor *self = (mp_nft_monitor *)poll;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  (void)status, (void)events;
  mp_buf_clear(&self->messages);
  int got = mp_nft_socket_receive(self->fd, false, &self->messages, &err);
  bool lost = got < 0 && mp_error_is(&err, "ENOBUFS");
  if (got == 0)
    return;
  uv_poll_stop(poll);
  self->on_events(self->data, &self->messages, lost, lost || got > 0 ? NULL : &err);
}

int mp_nft_monitor_open(mp_loop *loop, const char *netns, mp_nft_events events,
                        mp_nft_events_cb on_events, void *data, mp_nft_monitor **monitor,
                        mp_error *err) {
  unsigned group = events == MP_NFT_TRACES ? NFNLGRP_NFTRACE : NFNLGRP_NFTABLES;
  int fd;
  if (!mp_nft_load(err) || mp_nft_socket_open(netns, 1u << (group - 1), &fd, err) < 0)
    return -1;
  mp_nft_monitor *self = mp_alloc(sizeof *self);
  self->fd = fd;
  self->on_events = on_events;
  self->data = data;
  int rc = uv_poll_init(&loop->uv, &self->poll, fd);
  if (rc < 0) {
    close(fd);
    free(self);
    return mp_error_errno(err, "nft", rc, "could not listen to nftables");
  }
  *monitor = self;
  return 0;
}

void mp_nft_monitor_ask(mp_nft_monitor *self) {
  uv_poll_start(&self->poll, UV_READABLE, on_readable);
}

void mp_nft_monitor_cease(mp_nft_monitor *self) {
  uv_poll_stop(&self->poll);
}

void mp_nft_monitor_close(mp_nft_monitor *self) {
  uv_close((uv_handle_t *)&self->poll, closed);
}
