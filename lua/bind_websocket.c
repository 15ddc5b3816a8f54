/* moonport.core.websocket: WebSockets. */
#include "bind_websocket.h"

#include "bind_http.h"
#include "core/mem.h"
#include "errors.h"
#include "gate.h"
#include "secret.h"
#include "task.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define METATABLE "moonport.websocket"
#define CLOSE_TIMEOUT 5.0 /* seconds */
#define MAX_PROTOCOLS 64

/* How the peer closed. */
typedef struct {
  unsigned code;
  char reason[MP_WEBSOCKET_MAX_REASON + 1];
} farewell;

typedef struct {
  mp_websocket *websocket; /* NULL once it is closed */
  farewell farewell;       /* then */
} object;

static void read_farewell(const mp_websocket *websocket, farewell *to) {
  const char *reason;
  to->code = mp_websocket_close_code(websocket, &reason);
  memcpy(to->reason, reason, strlen(reason) + 1);
}

static void end(object *self) {
  if (self->websocket)
    read_farewell(self->websocket, &self->farewell);
  mp_websocket_free(mp_steal(self->websocket));
}

static object *check_object(lua_State *L) {
  return luaL_checkudata(L, 1, METATABLE);
}

static mp_websocket *check_open(lua_State *L) {
  object *self = check_object(L);
  if (!self->websocket)
    mp_raise(L, "websocket", "closed", NULL, "the websocket is closed");
  return self->websocket;
}

/* -- Connecting ------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait;
  mp_websocket *websocket;
  mp_error refused;
  int status;
  char *reason, *body;
  size_t body_len;
} connect_wait;

static void connect_release(mp_wait *wait) {
  connect_wait *self = (connect_wait *)wait;
  mp_websocket_free(mp_steal(self->websocket));
  mp_error_reset(&self->refused);
  free(mp_steal(self->reason));
  free(mp_steal(self->body));
}

static void connect_done(void *data, mp_websocket *websocket, const mp_websocket_refusal *refusal,
                         const mp_error *err) {
  connect_wait *self = data;
  self->websocket = websocket;
  if (refusal) {
    mp_error_copy(&self->refused, err);
    self->status = refusal->status;
    self->reason = mp_strdup(refusal->reason);
    self->body = mp_memdup(refusal->body.data, refusal->body.len);
    self->body_len = refusal->body.len;
  } else {
    mp_wait_fail(&self->wait, err);
  }
  mp_wait_done(&self->wait);
}

static int raise_refusal(lua_State *L, connect_wait *self) {
  mp_push_error(L, &self->refused);
  lua_pushinteger(L, self->status);
  lua_setfield(L, -2, "status");
  lua_pushstring(L, self->reason);
  lua_setfield(L, -2, "reason");
  lua_pushlstring(L, self->body, self->body_len);
  lua_setfield(L, -2, "body");
  return lua_error(L);
}

static int connect_finish(lua_State *L, mp_wait *wait) {
  connect_wait *self = (connect_wait *)wait;
  if (self->refused.domain)
    return raise_refusal(L, self);
  object *made = lua_newuserdatauv(L, sizeof *made, 0);
  *made = (object){.websocket = mp_steal(self->websocket)};
  luaL_setmetatable(L, METATABLE);
  return 1;
}

/* Others than scripts may be the first to want one. */
static void load_class(lua_State *L) {
  if (luaL_getmetatable(L, METATABLE) == LUA_TNIL) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonport.websocket");
    lua_call(L, 1, 0);
  }
  lua_pop(L, 1);
}

int mp_lua_websocket_wait(lua_State *L, const char *what, mp_websocket_start start, void *how) {
  load_class(L);
  connect_wait *self = mp_wait_new(L, sizeof *self, what, connect_finish);
  mp_wait *wait = &self->wait;
  wait->release = connect_release;
  if (start(how, mp_loop_of(L), connect_done, self, &wait->op, &wait->error) < 0)
    return mp_throw(L, &wait->error);
  return mp_wait_yield(L, wait);
}

static int start_connect(void *how, mp_loop *loop, mp_websocket_connect_cb cb, void *data,
                         mp_op **op, mp_error *err) {
  return mp_websocket_connect(loop, how, cb, data, op, err);
}

/* -- Options ---------------------------------------------------------------------------------- */

static size_t size_field(lua_State *L, int index, const char *name) {
  int type = lua_getfield(L, index, name);
  lua_Number size = lua_tonumber(L, -1);
  if (type != LUA_TNIL && (type != LUA_TNUMBER || !(size >= 1 && size < 1e15)))
    mp_bad_argument(L, "websocket: `%s` is a number of bytes above 0", name);
  lua_pop(L, 1);
  return (size_t)size;
}

static uint64_t ping_field(lua_State *L, int index) {
  int type = lua_getfield(L, index, "ping");
  lua_Number seconds = lua_tonumber(L, -1);
  bool none = type == LUA_TNIL || (type == LUA_TBOOLEAN && !lua_toboolean(L, -1));
  if (!none && (type != LUA_TNUMBER || !(seconds > 0 && seconds < 1e9)))
    mp_bad_argument(L, "websocket: `ping` is a number of seconds above 0, or false");
  lua_pop(L, 1);
  return none ? 0 : (uint64_t)ceil(seconds * 1000);
}

static bool flag_field(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  bool set = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return set;
}

/* Leaves the array on the stack; the table holds the names. */
static void read_protocols(lua_State *L, int index, mp_websocket_options *options) {
  const char **names = lua_newuserdatauv(L, MAX_PROTOCOLS * sizeof *names, 0);
  options->protocols = names;
  options->protocol_count = 0;
  int type = lua_getfield(L, index, "protocols");
  if (type != LUA_TNIL && type != LUA_TTABLE)
    mp_bad_argument(L, "websocket: `protocols` is a list of names");
  for (lua_Integer i = 1; type == LUA_TTABLE && lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
    if (lua_type(L, -1) != LUA_TSTRING || i > MAX_PROTOCOLS)
      mp_bad_argument(L, "websocket: `protocols` is a list of up to %d names", MAX_PROTOCOLS);
    names[options->protocol_count++] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  lua_settop(L, type == LUA_TTABLE ? -3 : -2); /* the list, and the nil behind its last name */
}

void mp_websocket_read_options(lua_State *L, int index, mp_websocket_options *options) {
  index = lua_absindex(L, index);
  options->max_message = size_field(L, index, "max_message");
  options->buffer = size_field(L, index, "buffer");
  options->ping_ms = ping_field(L, index);
  options->may_stall = flag_field(L, index, "may_stall");
  read_protocols(L, index, options);
}

/* connect(options of http, options of websockets) */
static int l_connect(lua_State *L) {
  mp_http_options http;
  mp_websocket_options options = {.http = &http};
  lua_settop(L, 2);
  luaL_checktype(L, 2, LUA_TTABLE);
  mp_http_read_options(L, 1, &http, NULL);
  mp_websocket_read_options(L, 2, &options);
  if (mp_gate_is_shut(L)) {
    char *url = mp_http_redact(http.url ? http.url : "");
    lua_pushstring(L, url);
    free(url);
    mp_gate(L, "websocket.connect", "connect to `%s`", lua_tostring(L, -1));
  }
  return mp_lua_websocket_wait(L, "websocket.connect", start_connect, &options);
}

/* -- Sending ---------------------------------------------------------------------------------- */

static void done(void *data, const mp_error *err) {
  mp_wait_fail(data, err);
  mp_wait_done(data);
}

static int give_itself(lua_State *L, mp_wait *wait) {
  (void)wait;
  lua_pushvalue(L, 1);
  return 1;
}

static int websocket_send(lua_State *L) {
  static const char *const kinds[] = {"text", "binary", NULL};
  mp_websocket *websocket = check_open(L);
  size_t len;
  const char *bytes = mp_secret_tolstring(L, 2, &len);
  if (!bytes)
    return mp_bad_argument(L, "a message is a string or a secret, got a %s", luaL_typename(L, 2));
  int kind = luaL_checkoption(L, 3, "binary", kinds);
  lua_settop(L, 2);
  mp_gate(L, "websocket:send", "send to `%s`", mp_websocket_url(websocket));
  mp_wait *wait = mp_wait_new(L, sizeof *wait, "websocket:send", give_itself);
  if (mp_websocket_send(websocket, kind == 0 ? MP_WEBSOCKET_TEXT : MP_WEBSOCKET_BINARY, bytes, len,
                        done, wait, &wait->op, &wait->error) < 0)
    return mp_throw(L, &wait->error);
  return mp_wait_yield(L, wait);
}

static int ping_finish(lua_State *L, mp_wait *wait) {
  (void)L;
  (void)wait;
  return 0;
}

static int websocket_ping(lua_State *L) {
  mp_websocket *websocket = check_open(L);
  lua_settop(L, 1);
  mp_wait *wait = mp_wait_new(L, sizeof *wait, "websocket:ping", ping_finish);
  if (mp_websocket_ping(websocket, done, wait, &wait->op, &wait->error) < 0)
    return mp_throw(L, &wait->error);
  return mp_wait_yield(L, wait);
}

/* -- Receiving -------------------------------------------------------------------------------- */

static int push_message(lua_State *L, mp_websocket_kind kind, const char *bytes, size_t len) {
  lua_pushlstring(L, bytes, len);
  lua_pushstring(L, kind == MP_WEBSOCKET_TEXT ? "text" : "binary");
  return 2;
}

static int push_farewell(lua_State *L, const farewell *farewell) {
  lua_pushnil(L);
  lua_pushinteger(L, farewell->code);
  lua_pushstring(L, farewell->reason);
  return 3;
}

typedef struct {
  mp_wait wait;
  mp_websocket_kind kind;
  char *bytes; /* NULL: the end */
  size_t len;
  farewell farewell;
  mp_websocket *websocket;
} receive_wait;

static void receive_release(mp_wait *wait) {
  free(mp_steal(((receive_wait *)wait)->bytes));
}

static void received(void *data, mp_websocket_kind kind, const char *bytes, size_t len,
                     const mp_error *err) {
  receive_wait *self = data;
  self->kind = kind;
  self->len = len;
  if (bytes)
    self->bytes = mp_memdup(bytes, len);
  if (!bytes && !err)
    read_farewell(self->websocket, &self->farewell);
  mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

static int receive_finish(lua_State *L, mp_wait *wait) {
  receive_wait *self = (receive_wait *)wait;
  if (self->bytes)
    return push_message(L, self->kind, self->bytes, self->len);
  return push_farewell(L, &self->farewell);
}

static int websocket_receive(lua_State *L) {
  object *object = check_object(L);
  mp_websocket *websocket = object->websocket;
  mp_websocket_kind kind;
  const char *bytes;
  size_t len;
  lua_settop(L, 1);
  if (websocket && mp_websocket_ended(websocket))
    end(object);
  if (!object->websocket)
    return push_farewell(L, &object->farewell);
  if (mp_websocket_take(websocket, &kind, &bytes, &len))
    return push_message(L, kind, bytes, len);
  receive_wait *self = mp_wait_new(L, sizeof *self, "websocket:receive", receive_finish);
  mp_wait *wait = &self->wait;
  wait->release = receive_release;
  self->websocket = websocket;
  if (mp_websocket_receive(websocket, received, self, &wait->op, &wait->error) < 0)
    return mp_throw(L, &wait->error);
  return mp_wait_yield(L, wait);
}

/* -- The end ---------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait;
  bool clean;
} close_wait;

/* What went wrong on the way out is no error: it is closed. */
static void closed(void *data, const mp_error *err) {
  close_wait *self = data;
  self->clean = !err;
  if (err && mp_error_is(err, MP_CANCELLED))
    mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

static int close_finish(lua_State *L, mp_wait *wait) {
  end(check_object(L));
  lua_pushboolean(L, ((close_wait *)wait)->clean);
  return 1;
}

static int websocket_close(lua_State *L) {
  object *self = check_object(L);
  lua_Integer code = luaL_optinteger(L, 2, 1000);
  const char *reason = luaL_optstring(L, 3, "");
  lua_Number timeout = luaL_optnumber(L, 4, CLOSE_TIMEOUT);
  if (!self->websocket) {
    lua_pushboolean(L, true);
    return 1;
  }
  if (!(timeout >= 0 && timeout < 1e9))
    return mp_bad_argument(L, "websocket:close wants seconds, got %f", timeout);
  close_wait *wait = mp_wait_new(L, sizeof *wait, "websocket:close", close_finish);
  mp_wait *base = &wait->wait;
  if (mp_websocket_close(self->websocket, code < 0 ? 0 : (unsigned)code, reason,
                         (uint64_t)(timeout * 1000), closed, wait, &base->op, &base->error) < 0)
    return mp_throw(L, &base->error);
  return mp_wait_yield(L, base);
}

/* At once. */
static int websocket_end(lua_State *L) {
  end(check_object(L));
  return 0;
}

/* -- The object ------------------------------------------------------------------------------- */

/* Upvalue: the methods. */
static int websocket_index(lua_State *L) {
  object *self = check_object(L);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL || !self->websocket)
    return 1;
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(name, "protocol") == 0)
    lua_pushstring(L, mp_websocket_protocol(self->websocket));
  else if (strcmp(name, "url") == 0)
    lua_pushstring(L, mp_websocket_url(self->websocket));
  return 1;
}

static int websocket_tostring(lua_State *L) {
  object *self = check_object(L);
  lua_pushfstring(L, "websocket (%s)",
                  self->websocket ? mp_websocket_url(self->websocket) : "closed");
  return 1;
}

int luaopen_moonport_websocket(lua_State *L) {
  static const luaL_Reg methods[] = {{"send", websocket_send},
                                     {"receive", websocket_receive},
                                     {"ping", websocket_ping},
                                     {"close", websocket_close},
                                     {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__close", websocket_end},
                                  {"__gc", websocket_end},
                                  {"__tostring", websocket_tostring},
                                  {NULL, NULL}};
  static const luaL_Reg functions[] = {{"connect", l_connect}, {NULL, NULL}};
  luaL_newmetatable(L, METATABLE);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods); /* which the Lua side adds to */
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, websocket_index, 1);
  lua_setfield(L, -3, "__index");
  luaL_newlib(L, functions);
  lua_insert(L, -2);
  lua_setfield(L, -2, "methods");
  return 1;
}
