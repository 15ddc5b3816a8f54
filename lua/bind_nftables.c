/* moonport.core.nftables: sockets and events. */
#include "bind_nftables.h"

#include "core/mem.h"
#include "core/nftables/nftables.h"
#include "errors.h"
#include "gate.h"
#include "task.h"

#include <lauxlib.h>

#define SOCKET "moonport.nftables"
#define MONITOR "moonport.nftables.monitor"
#define WRITER "moonport.nftables.writer"

/* -- Requests --------------------------------------------------------------------------------- */

typedef struct {
  mp_nft *nft; /* NULL once closed */
} box;

static mp_nft *check_open(lua_State *L) {
  box *self = luaL_checkudata(L, 1, SOCKET);
  if (!self->nft)
    mp_raise(L, "nft", "closed", NULL, "the socket to nftables is closed");
  return self->nft;
}

static int socket_close(lua_State *L) {
  box *self = luaL_checkudata(L, 1, SOCKET);
  mp_nft_close(mp_steal(self->nft));
  return 0;
}

/* open(netns): a socket */
static int l_open(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  const char *netns = luaL_optstring(L, 1, NULL);
  box *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (box){0};
  luaL_setmetatable(L, SOCKET);
  return mp_nft_open(netns, &self->nft, &err) < 0 ? mp_throw(L, &err) : 1;
}

/* socket:port(): what events name as the `port` of its transactions */
static int socket_port(lua_State *L) {
  lua_pushinteger(L, mp_nft_port(check_open(L)));
  return 1;
}

typedef struct {
  mp_wait wait;
  mp_buf messages;
  uint32_t generation;
  bool listing, echo;
  mp_error refusal; /* raised with what it was about */
  int64_t refused;
  uint32_t others;
} request_wait;

static void request_release(mp_wait *wait) {
  request_wait *self = (request_wait *)wait;
  mp_buf_free(&self->messages);
  mp_error_reset(&self->refusal);
}

static void request_done(void *data, mp_nft_result *result, const mp_error *err) {
  request_wait *self = data;
  self->messages = result->messages;
  result->messages = MP_BUF_INIT;
  self->generation = result->generation;
  self->refused = result->refused;
  self->others = result->others;
  if (err && self->refused >= 0)
    mp_error_copy(&self->refusal, err);
  else
    mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

static int raise_refusal(lua_State *L, request_wait *self) {
  mp_push_error(L, &self->refusal);
  lua_pushinteger(L, self->refused + 1);
  lua_setfield(L, -2, "refused");
  lua_pushinteger(L, self->others);
  lua_setfield(L, -2, "others");
  return lua_error(L);
}

static int request_finish(lua_State *L, mp_wait *wait) {
  request_wait *self = (request_wait *)wait;
  if (self->refusal.domain)
    return raise_refusal(L, self);
  if (!self->listing && !self->echo)
    return 0;
  mp_lua_nft_read(L, &self->messages);
  if (!self->listing)
    return 1;
  lua_pushinteger(L, self->generation);
  return 2;
}

/* A writer that the collector frees when an error leaves it behind; pushed. */
static mp_nft_writer *push_writer(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  mp_nft_writer **writer = lua_newuserdatauv(L, sizeof *writer, 0);
  *writer = NULL;
  luaL_setmetatable(L, WRITER);
  *writer = mp_nft_writer_new(&err);
  if (!*writer)
    mp_throw(L, &err);
  return *writer;
}

static int writer_gc(lua_State *L) {
  mp_nft_writer **writer = luaL_checkudata(L, 1, WRITER);
  mp_nft_writer_free(mp_steal(*writer));
  return 0;
}

static request_wait *new_request(lua_State *L, const char *what) {
  request_wait *self = mp_wait_new(L, sizeof *self, what, request_finish);
  self->wait.release = request_release;
  return self;
}

static mp_nft_apply_options read_options(lua_State *L, int index) {
  mp_nft_apply_options options = {0};
  if (lua_isnoneornil(L, index))
    return options;
  luaL_checktype(L, index, LUA_TTABLE);
  lua_getfield(L, index, "echo");
  options.echo = lua_toboolean(L, -1);
  options.only_after = lua_getfield(L, index, "generation") == LUA_TNUMBER;
  options.generation = (uint32_t)lua_tointeger(L, -1);
  lua_pop(L, 2);
  return options;
}

/* socket:apply(messages, {echo, generation}): where echo is asked for, the messages of what was
 * made. A refusal has the index of the message in `refused`. */
static int socket_apply(lua_State *L) {
  mp_nft *nft = check_open(L);
  mp_nft_apply_options options = read_options(L, 3);
  mp_gate(L, "nft.apply", "change the rules of nftables");
  mp_nft_writer *writer = push_writer(L);
  mp_lua_nft_write(L, 2, writer);
  request_wait *self = new_request(L, "nft.apply");
  self->echo = options.echo;
  self->wait.op = mp_nft_apply(nft, mp_loop_of(L), writer, &options, request_done, self);
  return mp_wait_yield(L, &self->wait);
}

/* socket:list(questions): the messages that answer them, and the rules' generation */
static int socket_list(lua_State *L) {
  mp_nft *nft = check_open(L);
  mp_nft_writer *writer = push_writer(L);
  mp_lua_nft_write(L, 2, writer);
  request_wait *self = new_request(L, "nft.list");
  self->listing = true;
  self->wait.op = mp_nft_list(nft, mp_loop_of(L), writer, request_done, self);
  return mp_wait_yield(L, &self->wait);
}

/* -- Events ----------------------------------------------------------------------------------- */

typedef struct events_wait events_wait;

typedef struct {
  mp_nft_monitor *monitor; /* NULL once closed */
  events_wait *waiter;
} monitor_box;

struct events_wait {
  mp_wait wait;
  monitor_box *box;
  mp_buf messages;
  bool lost;
};

static void events_release(mp_wait *wait) {
  mp_buf_free(&((events_wait *)wait)->messages);
}

static void wake(monitor_box *box) {
  events_wait *waiter = mp_steal(box->waiter);
  if (waiter)
    mp_wait_done(&waiter->wait);
}

static void on_events(void *data, const mp_buf *messages, bool lost, const mp_error *err) {
  monitor_box *box = data;
  if (box->waiter) {
    mp_buf_append(&box->waiter->messages, messages->data, messages->len);
    box->waiter->lost = lost;
    mp_wait_fail(&box->waiter->wait, err);
  }
  wake(box);
}

static void events_cancel(mp_wait *wait) {
  monitor_box *box = ((events_wait *)wait)->box;
  if (box->monitor)
    mp_nft_monitor_cease(box->monitor);
  mp_wait_cancelled(wait);
  wake(box);
}

static int events_finish(lua_State *L, mp_wait *wait) {
  events_wait *self = (events_wait *)wait;
  if (!self->box->monitor && self->messages.len == 0)
    return 0;
  mp_lua_nft_read(L, &self->messages);
  lua_pushboolean(L, self->lost);
  return 2;
}

/* monitor:next(): the messages that came, and whether some before them are lost; nil once closed */
static int monitor_next(lua_State *L) {
  monitor_box *box = luaL_checkudata(L, 1, MONITOR);
  lua_settop(L, 1); /* the wait keeps the box */
  if (!box->monitor)
    return 0;
  if (box->waiter)
    return mp_bad_argument(L, "another task waits for this monitor's next event");
  events_wait *self = mp_wait_new(L, sizeof *self, "nft.monitor", events_finish);
  self->wait.cancel = events_cancel;
  self->wait.release = events_release;
  self->box = box;
  box->waiter = self;
  mp_nft_monitor_ask(box->monitor);
  return mp_wait_yield(L, &self->wait);
}

static int monitor_close(lua_State *L) {
  monitor_box *box = luaL_checkudata(L, 1, MONITOR);
  if (box->monitor)
    mp_nft_monitor_close(mp_steal(box->monitor));
  wake(box);
  return 0;
}

static int open_monitor(lua_State *L, mp_nft_events events) {
  mp_error err = MP_ERROR_INIT;
  const char *netns = luaL_optstring(L, 1, NULL);
  monitor_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = (monitor_box){0};
  luaL_setmetatable(L, MONITOR);
  int rc = mp_nft_monitor_open(mp_loop_of(L), netns, events, on_events, box, &box->monitor, &err);
  return rc < 0 ? mp_throw(L, &err) : 1;
}

/* monitor(netns): changes from now on */
static int l_monitor(lua_State *L) {
  return open_monitor(L, MP_NFT_CHANGES);
}

/* trace(netns): what becomes of packets that a rule traces, from now on */
static int l_trace(lua_State *L) {
  return open_monitor(L, MP_NFT_TRACES);
}

/* -- The module ------------------------------------------------------------------------------- */

static void make_class(lua_State *L, const char *name, const luaL_Reg *methods,
                       lua_CFunction close) {
  luaL_newmetatable(L, name);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);
}

int luaopen_moonport_nftables(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"open", l_open}, {"monitor", l_monitor}, {"trace", l_trace}, {NULL, NULL}};
  static const luaL_Reg socket[] = {{"apply", socket_apply},
                                    {"list", socket_list},
                                    {"port", socket_port},
                                    {"close", socket_close},
                                    {NULL, NULL}};
  static const luaL_Reg monitor[] = {
      {"next", monitor_next}, {"close", monitor_close}, {NULL, NULL}};
  static const luaL_Reg writer[] = {{NULL, NULL}};
  make_class(L, SOCKET, socket, socket_close);
  make_class(L, MONITOR, monitor, monitor_close);
  make_class(L, WRITER, writer, writer_gc);
  luaL_newlib(L, functions);
  return 1;
}
