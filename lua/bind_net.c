/*** Connections: Unix sockets and TCP.
 *
 *     local conn <close> = net.connect { host = "127.0.0.1", port = 6379, timeout = 2 }
 *     conn:write "PING\r\n"
 *     print(conn:read_line())
 * @module moonport.net
 */
#include "bind_net.h"

#include "bind_agent.h"
#include "bind_stream.h"
#include "class.h"
#include "core/local_address.h"
#include "core/mem.h"
#include "errors.h"
#include "gate.h"
#include "task.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define LISTENER_METATABLE "moonport.net.listener"

/* -- Addresses -------------------------------------------------------------------------------- */

static const char *text_field(lua_State *L, const char *name) {
  size_t len;
  if (lua_getfield(L, 1, name) == LUA_TNIL)
    return NULL;
  if (lua_type(L, -1) != LUA_TSTRING)
    mp_bad_argument(L, "`%s` wants a string, got a %s", name, luaL_typename(L, -1));
  const char *text = lua_tolstring(L, -1, &len);
  if (strlen(text) != len)
    mp_bad_argument(L, "`%s` has a NUL byte in it", name);
  return text;
}

/* The strings stay on the stack. */
static void read_address(lua_State *L, mp_stream_address *address) {
  *address = (mp_stream_address){0};
  address->path = text_field(L, "unix");
  address->host = text_field(L, "host");
  if (lua_getfield(L, 1, "port") != LUA_TNIL) {
    lua_Integer port = luaL_checkinteger(L, -1);
    if (port < 0 || port > 65535)
      mp_bad_argument(L, "%lld is not a port", (long long)port);
    address->port = (unsigned)port;
  }
  if ((address->path != NULL) == (address->host != NULL))
    mp_bad_argument(L, "an address is {unix = PATH} or {host = HOST, port = PORT}");
}

static void check_names(lua_State *L, const char *call, const char *const *known) {
  luaL_checktype(L, 1, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "#";
    const char *const *at = known;
    while (*at && strcmp(*at, name) != 0)
      at++;
    if (*at == NULL)
      mp_bad_argument(L, "%s has no option `%s`", call, name);
  }
}

/* -- Connecting ------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait;
  mp_stream *stream;
  bool probe;
  bool asks; /* an agent */
} connect_wait;

static void connect_release(mp_wait *wait) {
  mp_stream_close(((connect_wait *)wait)->stream);
}

static void connect_done(void *data, mp_stream *stream, const mp_error *err) {
  connect_wait *self = data;
  self->stream = stream;
  mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

/* A Unix socket has no address to tell. */
static int probe_finish(lua_State *L, connect_wait *self) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  char address[MP_ADDRESS_TEXT];
  lua_pushboolean(L, true);
  if (mp_local_address_of(mp_stream_fd(self->stream), address, &err) == 0)
    lua_pushstring(L, address);
  else
    lua_pushnil(L);
  mp_stream_close(mp_steal(self->stream));
  return 2;
}

static int connect_finish(lua_State *L, mp_wait *wait) {
  connect_wait *self = (connect_wait *)wait;
  if (self->probe)
    return probe_finish(L, self);
  mp_lua_stream *stream = mp_lua_stream_new(L, true, "net.connection");
  stream->stream = mp_steal(self->stream);
#ifdef MP_VM
  if (self->asks)
    stream->only_reads = mp_agent_only_reads;
#endif
  return 1;
}

static uint64_t timeout_field(lua_State *L) {
  int type = lua_getfield(L, 1, "timeout");
  lua_Number seconds = lua_tonumber(L, -1);
  if (type != LUA_TNIL && (type != LUA_TNUMBER || !(seconds > 0 && seconds < 1e10)))
    mp_bad_argument(L, "`timeout` wants seconds above 0");
  return seconds > 0 && seconds < 0.001 ? 1 : (uint64_t)(seconds * 1000);
}

/*** Connects.
 * @function connect
 * @tparam table options `unix`: a socket's path; or `host` and `port`; `timeout` in seconds (10);
 * `probe=true`: only see whether somebody accepts, close, and return true and the
 * address that the connection came from; allowed in a plan; `asks="agent"`: a guest's agent is
 * there: in a plan it can be asked what changes nothing
 * @treturn Stream
 * @raise {kind="net"}: "ECONNREFUSED", "ENOENT" and other errno names, "timeout", "resolve"
 */
static int l_connect(lua_State *L) {
  static const char *const known[] = {"unix", "host", "port", "timeout", "probe", "asks", NULL};
  mp_stream_address address;
  lua_settop(L, 1);
  check_names(L, "net.connect", known);
  read_address(L, &address);
  uint64_t timeout = timeout_field(L);
  lua_getfield(L, 1, "probe");
  bool probe = lua_toboolean(L, -1);
  lua_getfield(L, 1, "asks");
  bool asks = lua_isstring(L, -1) && strcmp(lua_tostring(L, -1), "agent") == 0;
  if (!probe && !asks)
    mp_gate(L, "net.connect", "connect to `%s`", address.path ? address.path : address.host);
  connect_wait *self = mp_wait_new(L, sizeof *self, "net.connect", connect_finish);
  self->wait.release = connect_release;
  self->probe = probe;
  self->asks = asks;
  if (mp_stream_connect(mp_loop_of(L), &address, timeout ? timeout : 10000, connect_done, self,
                        &self->wait.op, &self->wait.error) < 0)
    return mp_throw(L, &self->wait.error);
  return mp_wait_yield(L, &self->wait);
}

/*** The address of this machine from which it reaches another one, as its routes say. Sends
 * nothing.
 * @function source_address
 * @tparam string address the other one's, in numbers
 * @treturn string
 * @raise {kind="net"}: "ENETUNREACH" where no route leads there, "invalid" for a name
 */
static int l_source_address(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  char address[MP_ADDRESS_TEXT];
  if (mp_local_address_towards(luaL_checkstring(L, 1), address, &err) < 0)
    return mp_throw(L, &err);
  lua_pushstring(L, address);
  return 1;
}

/* -- Listening -------------------------------------------------------------------------------- */

typedef struct {
  mp_listener *listener; /* NULL once it is closed */
} listener_object;

static mp_listener *check_listener(lua_State *L) {
  const listener_object *self = luaL_checkudata(L, 1, LISTENER_METATABLE);
  if (self->listener == NULL)
    mp_raise(L, "net", "closed", NULL, "the listener is closed");
  return self->listener;
}

/*** Listens. A Unix socket gets mode 0600, and goes with the listener.
 * @function listen
 * @tparam table options `unix`: a socket's path; or `host`, an address in numbers ("127.0.0.1"),
 * and `port` (0: any free one)
 * @treturn Listener
 * @raise {kind="net"}: "EADDRINUSE" and other errno names
 */
static int l_listen(lua_State *L) {
  static const char *const known[] = {"unix", "host", "port", NULL};
  mp_error err = MP_ERROR_INIT;
  mp_stream_address address;
  lua_settop(L, 1);
  check_names(L, "net.listen", known);
  read_address(L, &address);
  mp_gate(L, "net.listen", "listen on `%s`", address.path ? address.path : address.host);
  listener_object *self = lua_newuserdatauv(L, sizeof *self, 0);
  self->listener = NULL;
  luaL_setmetatable(L, LISTENER_METATABLE);
  if (mp_stream_listen(mp_loop_of(L), &address, &self->listener, &err) < 0)
    return mp_throw(L, &err);
  return 1;
}

/*** A listening socket.
 * @type Listener
 */

/*** Waits for the next connection.
 * @function Listener:accept
 * @treturn Stream
 */
static int listener_accept(lua_State *L) {
  mp_listener *listener = check_listener(L);
  lua_settop(L, 1);
  connect_wait *self = mp_wait_new(L, sizeof *self, "listener:accept", connect_finish);
  self->wait.release = connect_release;
  if (mp_listener_accept(listener, connect_done, self, &self->wait.op, &self->wait.error) < 0)
    return mp_throw(L, &self->wait.error);
  return mp_wait_yield(L, &self->wait);
}

/*** The port that it listens on.
 * @function Listener:port
 * @treturn integer 0 for a Unix socket
 */
static int listener_port(lua_State *L) {
  lua_pushinteger(L, mp_listener_port(check_listener(L)));
  return 1;
}

/*** Stops listening.
 * @function Listener:close
 */
static int listener_close(lua_State *L) {
  listener_object *self = luaL_checkudata(L, 1, LISTENER_METATABLE);
  mp_listener_close(mp_steal(self->listener));
  return 0;
}

int luaopen_moonport_net(lua_State *L) {
  static const luaL_Reg methods[] = {{"accept", listener_accept}, {"port", listener_port},
                                     {"close", listener_close},   {"__close", listener_close},
                                     {"__gc", listener_close},    {NULL, NULL}};
  static const luaL_Reg functions[] = {{"connect", l_connect},
                                       {"listen", l_listen},
                                       {"source_address", l_source_address},
                                       {NULL, NULL}};
  mp_class(L, LISTENER_METATABLE, methods);
  luaL_newlib(L, functions);
  return 1;
}
