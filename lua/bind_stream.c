/*** Streams of bytes: connections, and the ends of a program's pipes and terminals.
 * @module moonport.stream
 */
#include "bind_stream.h"

#include "core/mem.h"
#include "errors.h"
#include "gate.h"
#include "secret.h"
#include "task.h"

#include <lauxlib.h>
#include <stdlib.h>

#define STREAM_METATABLE "moonport.stream"
#define BLOCK ((lua_Integer)64 * 1024)
#define LINE_LIMIT ((lua_Integer)1024 * 1024)
#define ALL_LIMIT ((lua_Integer)16 * 1024 * 1024)

mp_lua_stream *mp_lua_stream_check(lua_State *L, int index) {
  mp_lua_stream *self = luaL_checkudata(L, index, STREAM_METATABLE);
  if (self->stream == NULL)
    mp_raise(L, "net", "closed", NULL, "%s is closed", self->what);
  return self;
}

static mp_lua_stream *check_open(lua_State *L) {
  return mp_lua_stream_check(L, 1);
}

static size_t check_size(lua_State *L, int index, lua_Integer by_default) {
  lua_Integer size = luaL_optinteger(L, index, by_default);
  if (size <= 0)
    mp_bad_argument(L, "a read wants a number of bytes above 0, got %lld", (long long)size);
  return (size_t)size;
}

/* -- Reading ---------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait;
  char *bytes; /* NULL: the end */
  size_t len;
} read_wait;

static void read_release(mp_wait *wait) {
  free(((read_wait *)wait)->bytes);
}

static void read_done(void *data, const char *bytes, size_t len, const mp_error *err) {
  read_wait *self = data;
  if (bytes)
    self->bytes = mp_memdup(bytes, len);
  self->len = len;
  mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

static int read_finish(lua_State *L, mp_wait *wait) {
  read_wait *self = (read_wait *)wait;
  if (self->bytes)
    lua_pushlstring(L, self->bytes, self->len);
  else
    lua_pushnil(L);
  return 1;
}

typedef int (*read_start)(mp_stream *stream, size_t max, mp_stream_read_cb cb, void *data,
                          mp_op **op, mp_error *err);

static int wait_for_read(lua_State *L, const mp_lua_stream *self, size_t max, const char *what,
                         read_start start) {
  read_wait *wait = mp_wait_new(L, sizeof *wait, what, read_finish);
  wait->wait.release = read_release;
  if (self->stream == NULL ||
      start(self->stream, max, read_done, wait, &wait->wait.op, &wait->wait.error) < 0)
    return mp_throw(L, &wait->wait.error);
  return mp_wait_yield(L, &wait->wait);
}

int mp_lua_stream_read(lua_State *L) {
  const mp_lua_stream *self = check_open(L);
  size_t max = check_size(L, 2, BLOCK), len;
  const char *bytes;
  if (mp_stream_take(self->stream, max, &bytes, &len)) {
    lua_pushlstring(L, bytes, len);
    return 1;
  }
  return wait_for_read(L, self, max, "stream:read", mp_stream_read);
}

static int read_line(lua_State *L, const mp_lua_stream *self, size_t limit, const char *what) {
  const char *line;
  size_t len;
  if (mp_stream_take_line(self->stream, limit, &line, &len)) {
    lua_pushlstring(L, line, len);
    return 1;
  }
  return wait_for_read(L, self, limit, what, mp_stream_read_line);
}

int mp_lua_stream_read_line(lua_State *L) {
  const mp_lua_stream *self = check_open(L);
  return read_line(L, self, check_size(L, 2, LINE_LIMIT), "stream:read_line");
}

int mp_lua_stream_read_all(lua_State *L) {
  const mp_lua_stream *self = check_open(L);
  return wait_for_read(L, self, check_size(L, 2, ALL_LIMIT), "stream:read_all", mp_stream_read_all);
}

/* Upvalues: the stream, the limit. */
static int next_line(lua_State *L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  const mp_lua_stream *self = check_open(L);
  return read_line(L, self, (size_t)lua_tointeger(L, lua_upvalueindex(2)), "stream:lines");
}

int mp_lua_stream_lines(lua_State *L) {
  check_open(L);
  size_t limit = check_size(L, 2, LINE_LIMIT);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, (lua_Integer)limit);
  lua_pushcclosure(L, next_line, 2);
  return 1;
}

/* -- Writing ---------------------------------------------------------------------------------- */

static void write_done(void *data, const mp_error *err) {
  mp_wait *wait = data;
  mp_wait_fail(wait, err);
  mp_wait_done(wait);
}

static int write_finish(lua_State *L, mp_wait *wait) {
  (void)wait;
  lua_pushvalue(L, 1);
  return 1;
}

int mp_lua_stream_write(lua_State *L) {
  const mp_lua_stream *self = check_open(L);
  size_t len;
  const char *bytes = mp_secret_tolstring(L, 2, &len);
  if (bytes == NULL)
    return mp_bad_argument(L, "a write wants a string or a secret, got a %s", luaL_typename(L, 2));
  lua_settop(L, 2);
  if (self->only_reads == NULL || !self->only_reads(bytes, len))
    mp_gate(L, "stream:write", "write to %s", self->what);
  mp_wait *wait = mp_wait_new(L, sizeof *wait, "stream:write", write_finish);
  if (mp_stream_write(self->stream, bytes, len, write_done, wait, &wait->op, &wait->error) < 0)
    return mp_throw(L, &wait->error);
  return mp_wait_yield(L, wait);
}

int mp_lua_stream_shutdown(lua_State *L) {
  const mp_lua_stream *self = check_open(L);
  mp_gate(L, "stream:shutdown", "end what is written to %s", self->what);
  mp_stream_end(self->stream);
  return 0;
}

/* -- The object ------------------------------------------------------------------------------- */

/* Closing what was closed is fine, so that `<close>` and an explicit close go together. */
static int stream_close(lua_State *L) {
  mp_lua_stream *self = luaL_checkudata(L, 1, STREAM_METATABLE);
  mp_stream *stream = mp_steal(self->stream);
  if (self->owned)
    mp_stream_close(stream);
  else if (stream)
    mp_stream_end(stream);
  return 0;
}

static int stream_gc(lua_State *L) {
  mp_lua_stream *self = luaL_checkudata(L, 1, STREAM_METATABLE);
  if (self->owned)
    mp_stream_close(mp_steal(self->stream));
  return 0;
}

static int stream_tostring(lua_State *L) {
  const mp_lua_stream *self = luaL_checkudata(L, 1, STREAM_METATABLE);
  lua_pushfstring(L, "%s (%s)", self->what, self->stream ? "open" : "closed");
  return 1;
}

/*** A connection, or a pipe to or from a process. Reading slows the other end down to the reader's
 * pace. One task may read at a time. `local conn <close> = ...` closes it.
 * @type Stream
 */

/*** Reads what is there, at least one byte.
 * @function Stream:read
 * @tparam[opt=65536] integer max bytes
 * @treturn string nil at the end
 */

/*** Reads a line, without its newline.
 * @function Stream:read_line
 * @tparam[opt=1048576] integer limit a longer line raises
 * @treturn string nil at the end
 * @raise {kind="net", code="limit"}
 */

/*** Reads to the end.
 * @function Stream:read_all
 * @tparam[opt=16777216] integer limit more than that raises
 * @treturn string
 * @raise {kind="net", code="limit"}
 */

/*** Goes through the lines: `for line in conn:lines() do ... end`.
 * @function Stream:lines
 * @tparam[opt=1048576] integer limit a longer line raises
 * @treturn function
 */

/*** Writes all of it; returns when the kernel has taken it.
 * @function Stream:write
 * @tparam string|secret bytes
 * @treturn Stream itself
 * @raise {kind="net"}: "EPIPE" when the other end has gone, "closed"
 */

/*** Ends writing; the other direction stays open.
 * @function Stream:shutdown
 */

/*** Closes it. Who reads or writes at the moment gets a `cancelled` error.
 * @function Stream:close
 */

static void make_metatable(lua_State *L) {
  static const luaL_Reg methods[] = {{"read", mp_lua_stream_read},
                                     {"read_line", mp_lua_stream_read_line},
                                     {"read_all", mp_lua_stream_read_all},
                                     {"lines", mp_lua_stream_lines},
                                     {"write", mp_lua_stream_write},
                                     {"shutdown", mp_lua_stream_shutdown},
                                     {"close", stream_close},
                                     {"__close", stream_close},
                                     {"__gc", stream_gc},
                                     {"__tostring", stream_tostring},
                                     {NULL, NULL}};
  if (luaL_newmetatable(L, STREAM_METATABLE)) {
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
}

mp_lua_stream *mp_lua_stream_new(lua_State *L, bool owned, const char *what) {
  mp_lua_stream *self = lua_newuserdatauv(L, sizeof *self, 1);
  *self = (mp_lua_stream){.owned = owned, .what = what};
  make_metatable(L);
  lua_setmetatable(L, -2);
  return self;
}
