/* What changes in a network, as the kernel tells it. For the loop's thread, but for the opening. */
#ifndef MP_CORE_NETLINK_MONITOR_H
#define MP_CORE_NETLINK_MONITOR_H

#include "addresses.h"
#include "core/loop.h"
#include "links.h"
#include "neighbours.h"
#include "routes.h"

typedef enum {
  MP_NETLINK_LINK,
  MP_NETLINK_ADDRESS,
  MP_NETLINK_ROUTE,
  MP_NETLINK_NEIGHBOUR,
  MP_NETLINK_LOST /* the kernel has dropped some: look at everything anew */
} mp_netlink_what;

typedef struct {
  mp_netlink_what what;
  bool deleted; /* it has gone; else it is new or has changed */
  union {
    mp_netlink_link link;
    mp_netlink_address address;
    mp_netlink_route route;
    mp_netlink_neighbour neighbour;
  };
} mp_netlink_event;

void mp_netlink_event_reset(mp_netlink_event *event);

typedef struct mp_netlink_monitor mp_netlink_monitor;

/* Called for each event, which it takes over (mp_netlink_event_reset); or once, with err, when
 * nothing more will come. It may pause the monitor and close it. */
typedef void (*mp_netlink_on_event)(void *data, mp_netlink_event *event, mp_error *err);

/* Subscribes in the namespace `netns` (-1: ours), which it takes over: events from now on are
 * kept. what: a set of 1 << MP_NETLINK_LINK, ... buffer: bytes that may wait for us, 0: a MiB.
 * Thread: any; may block. */
int mp_netlink_monitor_open(int netns, unsigned what, int buffer, mp_netlink_monitor **monitor,
                            mp_error *err);

/* Begins to call, or goes on. Keeps the loop alive until closed. */
int mp_netlink_monitor_start(mp_netlink_monitor *monitor, mp_loop *loop, mp_netlink_on_event cb,
                             void *data, mp_error *err);

/* Calls, now, for what has come already; a monitor that is paused stays so. */
void mp_netlink_monitor_poll(mp_netlink_monitor *monitor);

/* Stops calling: what happens meanwhile waits in the kernel, as much as fits. */
void mp_netlink_monitor_pause(mp_netlink_monitor *monitor);

/* No callback after this. NULL is fine. */
void mp_netlink_monitor_close(mp_netlink_monitor *monitor);

#endif
