#include "monitor.h"

#include "core/mem.h"
#include "internal.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (1 << 20)
#define DATAGRAM 65536
#define AT_ONCE 64 /* datagrams, before others have their turn */

struct mp_netlink_monitor {
  uv_poll_t poll;
  struct nl_sock *socket;
  mp_netlink_on_event cb;
  void *data;
  bool polling; /* the handle is the loop's */
  bool paused, closed;
  bool lost; /* and not told yet */
  /* what was received and not told yet: */
  char *bytes;
  size_t at, len;
};

/* -- Events ----------------------------------------------------------------------------------- */

void mp_netlink_event_reset(mp_netlink_event *event) {
  if (event->what == MP_NETLINK_LINK)
    mp_netlink_link_reset(&event->link);
  if (event->what == MP_NETLINK_ROUTE)
    mp_netlink_route_reset(&event->route);
  *event = (mp_netlink_event){.what = MP_NETLINK_LOST};
}

static bool parse(const struct nlmsghdr *message, mp_netlink_event *event) {
  event->deleted = (message->nlmsg_type & 3) == 1; /* NEW, DEL, GET, SET of each in this order */
  switch (message->nlmsg_type) {
  case RTM_NEWLINK:
  case RTM_DELLINK:
    event->what = MP_NETLINK_LINK;
    return mp_netlink_parse_link(message, &event->link);
  case RTM_NEWADDR:
  case RTM_DELADDR:
    event->what = MP_NETLINK_ADDRESS;
    return mp_netlink_parse_address(message, &event->address);
  case RTM_NEWROUTE:
  case RTM_DELROUTE:
    event->what = MP_NETLINK_ROUTE;
    return mp_netlink_parse_route(message, &event->route);
  case RTM_NEWNEIGH:
  case RTM_DELNEIGH:
    event->what = MP_NETLINK_NEIGHBOUR;
    return mp_netlink_parse_neighbour(message, &event->neighbour);
  default:
    event->what = MP_NETLINK_LOST;
    return false;
  }
}

/* -- Receiving -------------------------------------------------------------------------------- */

static void fail(mp_netlink_monitor *self, int errnum) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_error_errno(&err, MP_NETLINK, errnum, "could not go on watching the network");
  mp_netlink_monitor_pause(self);
  self->cb(self->data, NULL, &err);
}

/* Tells what was received, until there is no more or the receiver wants to pause. */
static void tell(mp_netlink_monitor *self) {
  if (self->lost && !self->paused) {
    mp_netlink_event event = {.what = MP_NETLINK_LOST};
    self->lost = false;
    self->cb(self->data, &event, NULL);
  }
  while (!self->closed && !self->paused && self->at < self->len) {
    struct nlmsghdr *message = (struct nlmsghdr *)(self->bytes + self->at);
    if (!nlmsg_ok(message, (int)(self->len - self->at))) {
      self->at = self->len;
      break;
    }
    mp_netlink_event event = {0};
    self->at += NLMSG_ALIGN(message->nlmsg_len);
    if (parse(message, &event))
      self->cb(self->data, &event, NULL);
    else
      mp_netlink_event_reset(&event);
  }
}

/* False when there is nothing now. Only the kernel is listened to. */
static bool receive(mp_netlink_monitor *self) {
  struct sockaddr_nl from = {0};
  socklen_t size = sizeof from;
  ssize_t got = recvfrom(nl_socket_get_fd(self->socket), self->bytes, DATAGRAM,
                         MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &size);
  if (got < 0 && errno == ENOBUFS) {
    self->lost = true;
    return true;
  }
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR)
      fail(self, errno);
    return false;
  }
  if (got > DATAGRAM)
    self->lost = true;
  self->at = 0;
  self->len = from.nl_pid == 0 && got <= DATAGRAM ? (size_t)got : 0;
  return true;
}

static void free_monitor(mp_netlink_monitor *self) {
  nl_socket_free(self->socket);
  free(self->bytes);
  free(self);
}

static void closed(uv_handle_t *handle) {
  free_monitor(handle->data);
}

void mp_netlink_monitor_poll(mp_netlink_monitor *self) {
  for (int i = 0; i < AT_ONCE && !self->closed && !self->paused && receive(self); i++)
    tell(self);
}

/* Events that were dropped are an error of the socket to poll(2), upon which libuv stops; what the
 * error is, if any, reading tells. */
static void readable(uv_poll_t *poll, int status, int events) {
  mp_netlink_monitor *self = poll->data;
  (void)events;
  mp_netlink_monitor_poll(self);
  if (status < 0 && !self->closed && !self->paused)
    uv_poll_start(poll, UV_READABLE, readable);
}

/* -- Life ------------------------------------------------------------------------------------- */

static int join(struct nl_sock *socket, unsigned what) {
  static const struct {
    mp_netlink_what what;
    int group;
  } groups[] = {
      {MP_NETLINK_LINK, RTNLGRP_LINK},           {MP_NETLINK_ADDRESS, RTNLGRP_IPV4_IFADDR},
      {MP_NETLINK_ADDRESS, RTNLGRP_IPV6_IFADDR}, {MP_NETLINK_ROUTE, RTNLGRP_IPV4_ROUTE},
      {MP_NETLINK_ROUTE, RTNLGRP_IPV6_ROUTE},    {MP_NETLINK_NEIGHBOUR, RTNLGRP_NEIGH}};
  int rc = 0;
  for (size_t i = 0; i < sizeof groups / sizeof *groups && rc == 0; i++)
    if (what & 1U << groups[i].what)
      rc = nl_socket_add_membership(socket, groups[i].group);
  return rc;
}

int mp_netlink_monitor_open(int netns, unsigned what, int buffer, mp_netlink_monitor **monitor,
                            mp_error *err) {
  struct nl_sock *socket = NULL;
  int rc = mp_netlink_socket_(netns, buffer > 0 ? buffer : BUFFER, &socket, err);
  if (netns >= 0)
    close(netns);
  if (rc < 0)
    return -1;
  rc = join(socket, what);
  if (rc < 0) {
    nl_socket_free(socket);
    return mp_error_set(err, MP_NETLINK, "socket", "could not watch the network: %s",
                        nl_geterror(rc));
  }
  mp_netlink_monitor *self = mp_alloc(sizeof *self);
  self->socket = socket;
  self->bytes = mp_alloc(DATAGRAM);
  *monitor = self;
  return 0;
}

int mp_netlink_monitor_start(mp_netlink_monitor *self, mp_loop *loop, mp_netlink_on_event cb,
                             void *data, mp_error *err) {
  if (!self->polling) {
    int rc = uv_poll_init(&loop->uv, &self->poll, nl_socket_get_fd(self->socket));
    if (rc < 0)
      return mp_error_errno(err, MP_NETLINK, rc, "could not watch the network");
    self->poll.data = self;
    self->polling = true;
  }
  self->cb = cb;
  self->data = data;
  self->paused = false;
  tell(self);
  if (!self->paused && !self->closed)
    uv_poll_start(&self->poll, UV_READABLE, readable);
  return 0;
}

void mp_netlink_monitor_pause(mp_netlink_monitor *self) {
  self->paused = true;
  if (self->polling)
    uv_poll_stop(&self->poll);
}

void mp_netlink_monitor_close(mp_netlink_monitor *self) {
  if (!self || self->closed)
    return;
  self->closed = true;
  if (self->polling)
    uv_close((uv_handle_t *)&self->poll, closed);
  else
    free_monitor(self);
}
