/* What changes in a network, as objects that tell one event after the other. */
#include "bind_netlink.h"

#include "core/mem.h"
#include "core/netlink/namespace.h"
#include "errors.h"
#include "netlink_job.h"
#include "netlink_options.h"
#include "netlink_values.h"

#include <string.h>

#define MONITOR "moonport.netlink.monitor"
#define WAITING_MOST 256 /* beyond, events wait in the kernel, which says when it drops some */

typedef struct monitor_wait monitor_wait;

typedef struct {
  mp_netlink_monitor *monitor; /* NULL once closed */
  mp_netlink_event queue[WAITING_MOST];
  size_t first, count;
  bool paused;
  mp_error error;
  monitor_wait *waiter;
} monitor_box;

struct monitor_wait {
  mp_wait wait;
  monitor_box *box; /* at index 1 of the waiting function */
};

static void wake(monitor_box *box) {
  monitor_wait *waiter = mp_steal(box->waiter);
  if (waiter)
    mp_wait_done(&waiter->wait);
}

static void on_event(void *data, mp_netlink_event *event, mp_error *err) {
  monitor_box *box = data;
  if (err)
    mp_error_move(&box->error, err);
  else
    box->queue[(box->first + box->count++) % WAITING_MOST] = *event;
  if (box->count == WAITING_MOST) {
    mp_netlink_monitor_pause(box->monitor);
    box->paused = true;
  }
  wake(box);
}

/* -- Opening ---------------------------------------------------------------------------------- */

static int run_monitor(netlink_job *job) {
  int netns = -1;
  if (job->name && mp_netns_open(job->name, &netns, &job->wait.error) < 0)
    return -1;
  return mp_netlink_monitor_open(netns, job->number, (int)job->index, &job->monitor,
                                 &job->wait.error);
}

static int push_monitor(lua_State *L, netlink_job *job) {
  mp_error err = MP_ERROR_INIT;
  monitor_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  memset(box, 0, sizeof *box);
  luaL_setmetatable(L, MONITOR);
  box->monitor = mp_steal(job->monitor);
  if (mp_netlink_monitor_start(box->monitor, mp_loop_of(L), on_event, box, &err) < 0)
    return mp_throw(L, &err);
  return 1;
}

static const char *const what_names[] = {[MP_NETLINK_LINK] = "link",
                                         [MP_NETLINK_ADDRESS] = "address",
                                         [MP_NETLINK_ROUTE] = "route",
                                         [MP_NETLINK_NEIGHBOUR] = "neighbour",
                                         NULL};

static unsigned what_named(lua_State *L, const char *name) {
  for (unsigned i = 0; what_names[i]; i++)
    if (strcmp(what_names[i], name) == 0)
      return i;
  mp_bad_argument(L, "`%s` cannot be watched, but link, address, route and neighbour can", name);
  return 0;
}

static unsigned check_what(lua_State *L, int index) {
  unsigned what = 0;
  luaL_checktype(L, index, LUA_TTABLE);
  for (lua_Integer i = 1; i <= luaL_len(L, index); i++) {
    lua_geti(L, index, i);
    what |= 1U << what_named(L, netlink_check_text(L, -1, "what to watch"));
    lua_pop(L, 1);
  }
  if (what == 0)
    mp_bad_argument(L, "what to watch: link, address, route or neighbour");
  return what;
}

/* monitor(what, netns, buffer) */
int mp_lua_netlink_monitor(lua_State *L) {
  unsigned what = check_what(L, 1);
  const char *netns = lua_isnoneornil(L, 2) ? NULL : netlink_check_text(L, 2, "netns");
  lua_Integer buffer = luaL_optinteger(L, 3, 0);
  luaL_argcheck(L, buffer >= 0 && buffer <= 1 << 30, 3, "no such number of bytes");
  netlink_job *job = netlink_job_new(L, NULL, "netlink.monitor", run_monitor, push_monitor);
  job->number = what;
  job->name = netns;
  job->index = buffer;
  return netlink_job_go(L, job);
}

/* -- Reading ---------------------------------------------------------------------------------- */

static void push_content(lua_State *L, const mp_netlink_event *event) {
  switch (event->what) {
  case MP_NETLINK_LINK:
    netlink_push_link(L, &event->link, NULL);
    break;
  case MP_NETLINK_ADDRESS:
    netlink_push_address(L, &event->address, NULL);
    break;
  case MP_NETLINK_ROUTE:
    netlink_push_route(L, &event->route, NULL);
    break;
  default:
    netlink_push_neighbour(L, &event->neighbour, NULL);
  }
}

/* {what="link", action="new", link={...}}; {action="lost"} */
static void push_event(lua_State *L, const mp_netlink_event *event) {
  lua_createtable(L, 0, 3);
  if (event->what == MP_NETLINK_LOST) {
    lua_pushstring(L, "lost");
    lua_setfield(L, -2, "action");
    return;
  }
  lua_pushstring(L, event->deleted ? "del" : "new");
  lua_setfield(L, -2, "action");
  lua_pushstring(L, what_names[event->what]);
  lua_setfield(L, -2, "what");
  push_content(L, event);
  lua_setfield(L, -2, what_names[event->what]);
}

static void go_on(lua_State *L, monitor_box *box) {
  mp_error err = MP_ERROR_INIT;
  if (!box->paused || box->count > WAITING_MOST / 2 || !box->monitor || box->error.domain)
    return;
  box->paused = false;
  if (mp_netlink_monitor_start(box->monitor, mp_loop_of(L), on_event, box, &err) < 0)
    mp_throw(L, &err);
}

/* Pushes the next event, or nil where the monitor is closed; false when there is none yet. */
static bool push_next(lua_State *L, monitor_box *box) {
  go_on(L, box);
  if (box->count > 0) {
    mp_netlink_event *event = &box->queue[box->first];
    push_event(L, event);
    mp_netlink_event_reset(event);
    box->first = (box->first + 1) % WAITING_MOST;
    box->count--;
    return true;
  }
  if (box->error.domain)
    mp_throw(L, &box->error);
  if (box->monitor)
    return false;
  lua_pushnil(L);
  return true;
}

static int next_finish(lua_State *L, mp_wait *wait) {
  monitor_wait *self = (monitor_wait *)wait;
  if (push_next(L, self->box))
    return 1;
  self->box->waiter = self;
  return mp_wait_again(L, wait);
}

static void next_cancel(mp_wait *wait) {
  monitor_wait *self = (monitor_wait *)wait;
  self->box->waiter = NULL;
  mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static int monitor_next(lua_State *L) {
  monitor_box *box = luaL_checkudata(L, 1, MONITOR);
  lua_settop(L, 1);
  if (push_next(L, box))
    return 1;
  if (box->waiter)
    return mp_bad_argument(L, "another task waits for this monitor's next event");
  monitor_wait *self = mp_wait_new(L, sizeof *self, "monitor:next", next_finish);
  self->wait.cancel = next_cancel;
  self->box = box;
  box->waiter = self;
  return mp_wait_yield(L, &self->wait);
}

/* poll(): the next event, if there is one already */
static int monitor_poll(lua_State *L) {
  monitor_box *box = luaL_checkudata(L, 1, MONITOR);
  if (box->monitor && box->count == 0 && !box->error.domain)
    mp_netlink_monitor_poll(box->monitor);
  if (!push_next(L, box))
    lua_pushnil(L);
  return 1;
}

static int monitor_close(lua_State *L) {
  monitor_box *box = luaL_checkudata(L, 1, MONITOR);
  mp_netlink_monitor_close(mp_steal(box->monitor));
  for (; box->count > 0; box->count--) {
    mp_netlink_event_reset(&box->queue[box->first]);
    box->first = (box->first + 1) % WAITING_MOST;
  }
  mp_error_reset(&box->error);
  wake(box);
  return 0;
}

void mp_lua_netlink_monitor_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"next", monitor_next}, {"poll", monitor_poll}, {"close", monitor_close}, {NULL, NULL}};
  static const char *const ends[] = {"__close", "__gc"};
  luaL_newmetatable(L, MONITOR);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  for (size_t i = 0; i < 2; i++) {
    lua_pushcfunction(L, monitor_close);
    lua_setfield(L, -2, ends[i]);
  }
  lua_pushcfunction(L, monitor_next);
  lua_setfield(L, -2, "__call");
  lua_pop(L, 1);
}
