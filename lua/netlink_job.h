/* Calls of a netlink connection: on the pool while the task waits, one at a time for each
 * connection, in the order in which they were made.
 *
 * A binding checks its arguments, makes a job with netlink_job_new, fills it in and ends with
 * `return netlink_job_go(L, job)`. Strings are borrowed from the stack, where they stay. */
#ifndef MP_LUA_NETLINK_JOB_H
#define MP_LUA_NETLINK_JOB_H

#include "core/netlink/addresses.h"
#include "core/netlink/links.h"
#include "core/netlink/monitor.h"
#include "core/netlink/neighbours.h"
#include "core/netlink/netlink.h"
#include "core/netlink/routes.h"
#include "task.h"

typedef struct netlink_job netlink_job;

typedef struct {
  mp_netlink *nl; /* NULL once closed */
  netlink_job *first;
  bool busy;    /* the first is on the pool */
  bool closing; /* after the one that is on the pool */
} netlink_box;

#define NETLINK_ADDRESSES_MOST 16 /* of a new link */

struct netlink_job {
  mp_wait wait;                 /* first; its error is where `run` reports */
  netlink_box *box;             /* at index 1 of the calling function; NULL for calls without one */
  int (*run)(netlink_job *job); /* on the pool: touches only the job and box->nl */
  int (*push)(lua_State *L, netlink_job *job);
  mp_op *op;
  netlink_job *next;
  /* what the calls need: */
  const char *name;  /* borrowed */
  const char *netns; /* borrowed; a namespace that settings or a peer go to */
  lua_Integer index;
  unsigned number;
  bool flag;
  mp_netlink_prefix prefix, other;
  mp_netlink_address_options address; /* its peer is `other` */
  mp_netlink_new_link link;           /* and its `settings` for a change */
  mp_netlink_prefix addresses[NETLINK_ADDRESSES_MOST];
  mp_netlink_new_route route;
  mp_netlink_route_change change;
  const char **names; /* in a userdata on the stack */
  size_t count;
  /* and give: */
  mp_netlink *opened;
  mp_netlink_monitor *monitor;
  mp_netlink_links links;
  mp_netlink_addresses found_addresses;
  mp_netlink_routes routes;
  mp_netlink_neighbours neighbours;
  char **list; /* owned */
};

/* Pushes a new job. box: NULL where it belongs to no connection. what: the function as scripts call
 * it; static string. */
netlink_job *netlink_job_new(lua_State *L, netlink_box *box, const char *what,
                             int (*run)(netlink_job *job),
                             int (*push)(lua_State *L, netlink_job *job));

int netlink_job_go(lua_State *L, netlink_job *job);

/* Closes the connection, after what is under way; what has not begun fails. */
void netlink_box_close(netlink_box *box);

int netlink_push_nothing(lua_State *L, netlink_job *job);

#endif
