/* Values one after another, as they arrive. Only the ends of values are looked for here; each is
 * then decoded whole, so that where a chunk is cut makes no difference. */
#include "json.h"

#include "core/mem.h"
#include "errors.h"
#include "value.h"

#include <stdlib.h>
#include <string.h>

#define PARSER "moonport.json.parser"
#define VALUE_MOST ((size_t)64 << 20) /* bytes of one value, unless asked otherwise */

typedef enum { BETWEEN, SCALAR, STRING, CONTAINER, CONTAINER_STRING } stream_state;

/* User value 1: the options table, which keeps the source's name alive. */
typedef struct {
  json_decode_options options;
  size_t most;
  mp_buf bytes;
  size_t start;  /* of the value under way, in `bytes` */
  size_t at;     /* looked at up to here */
  size_t placed; /* the byte whose line and column options.origin holds */
  stream_state state;
  size_t depth;
  bool ended; /* finish was called */
} stream;

static bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Moves past a string's end; false when it is not there yet. A backslash at the end waits for its
 * partner. */
static bool pass_string(stream *self) {
  while (self->at < self->bytes.len) {
    char c = self->bytes.data[self->at];
    if (c == '\\') {
      if (self->at + 1 == self->bytes.len)
        return false;
      self->at += 2;
      continue;
    }
    self->at++;
    if (c == '"')
      return true;
  }
  return false;
}

/* One step within an array or object; true at its end. */
static bool step_container(stream *self) {
  char c = self->bytes.data[self->at++];
  if (c == '"')
    self->state = CONTAINER_STRING;
  else if (c == '{' || c == '[')
    self->depth++;
  else if (c == '}' || c == ']')
    return --self->depth == 0;
  return false;
}

static void begin_value(stream *self) {
  char c = self->bytes.data[self->at++];
  self->depth = 1;
  self->state = c == '"' ? STRING : c == '{' || c == '[' ? CONTAINER : SCALAR;
}

static bool ends_scalar(char c) {
  return is_space(c) || c == '{' || c == '[' || c == '"';
}

static void skip_space(stream *self) {
  while (self->at < self->bytes.len && is_space(self->bytes.data[self->at]))
    self->at++;
}

/* Looks for the end of the next value: true when it is whole, from `start` to `at`. */
static bool find_value(stream *self) {
  if (self->state == BETWEEN) {
    skip_space(self);
    if (self->at == self->bytes.len)
      return false;
    self->start = self->at;
    begin_value(self);
  }
  if (self->state == STRING)
    return pass_string(self);
  while (self->at < self->bytes.len) {
    if (self->state == SCALAR) {
      if (ends_scalar(self->bytes.data[self->at]))
        return true;
      self->at++;
    } else if (self->state == CONTAINER_STRING) {
      if (!pass_string(self))
        return false;
      self->state = CONTAINER;
    } else if (step_container(self)) {
      return true;
    }
  }
  return self->state == SCALAR && self->ended;
}

/* Moves the origin along: a value's position is that in the whole stream. */
static void place(stream *self, size_t offset) {
  mp_text_origin *origin = &self->options.origin;
  size_t len = offset - self->placed;
  if (len > 0)
    mp_text_locate(origin, self->bytes.data + self->placed, len, len, &origin->line,
                   &origin->column);
  self->placed = offset;
}

/* Forgets what has been handed out. */
static void drop_done(stream *self) {
  size_t done = self->state == BETWEEN ? self->at : self->start;
  if (done == 0)
    return;
  place(self, done);
  mp_buf_consume(&self->bytes, done);
  self->at -= done;
  self->placed = self->start = 0;
}

static stream *check(lua_State *L) {
  stream *self = luaL_checkudata(L, 1, PARSER);
  return self;
}

/* Decodes a copy: the buffer could move if a finalizer fed this parser meanwhile. */
static int l_next(lua_State *L) {
  stream *self = check(L);
  if (!find_value(self)) {
    if (self->state != BETWEEN && self->ended) {
      self->state = BETWEEN; /* said once */
      lua_pushlstring(L, self->bytes.data + self->start, self->bytes.len - self->start);
    } else {
      if (self->state != BETWEEN && self->bytes.len - self->start > self->most)
        return mp_raise(L, "json", MP_LIMIT, "raise it with the option `max`",
                        "a value of the stream is larger than %zu bytes", self->most);
      return 0;
    }
    self->at = self->bytes.len;
  } else {
    self->state = BETWEEN;
    lua_pushlstring(L, self->bytes.data + self->start, self->at - self->start);
  }
  place(self, self->start);
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  json_decode_options options = self->options;
  json_decode(L, text, len, &options);
  return 1;
}

/* The iterator's function is `next` itself, its state the parser. */
static int push_iterator(lua_State *L) {
  lua_pushcfunction(L, l_next);
  lua_pushvalue(L, 1);
  return 2;
}

static int l_feed(lua_State *L) {
  stream *self = check(L);
  size_t len;
  const char *chunk = luaL_checklstring(L, 2, &len);
  if (self->ended)
    return mp_bad_argument(L, "the parser was finished before");
  drop_done(self);
  mp_buf_append(&self->bytes, chunk, len);
  return push_iterator(L);
}

static int l_finish(lua_State *L) {
  check(L)->ended = true;
  return push_iterator(L);
}

static int stream_gc(lua_State *L) {
  mp_buf_free(&check(L)->bytes);
  return 0;
}

static void push_metatable(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"feed", l_feed}, {"finish", l_finish}, {"next", l_next}, {NULL, NULL}};
  if (!luaL_newmetatable(L, PARSER))
    return;
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, stream_gc);
  lua_setfield(L, -2, "__gc");
}

int json_parser(lua_State *L) {
  lua_settop(L, 1);
  stream *self = lua_newuserdatauv(L, sizeof *self, 1);
  *self = (stream){.most = VALUE_MOST};
  push_metatable(L);
  lua_setmetatable(L, -2);
  json_read_decode_options(L, 1, &self->options);
  if (!lua_isnil(L, 1) && lua_getfield(L, 1, "max") != LUA_TNIL) {
    lua_Integer most = luaL_checkinteger(L, -1);
    luaL_argcheck(L, most > 0, 1, "max must be positive");
    self->most = (size_t)most;
  }
  lua_settop(L, 2);
  if (self->options.origin.source) { /* not the caller's table, which may change */
    lua_pushstring(L, self->options.origin.source);
    self->options.origin.source = lua_tostring(L, -1);
    lua_setiuservalue(L, 2, 1);
  }
  return 1;
}
