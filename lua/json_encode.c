/* From Lua values to text, straight into one buffer. */
#include "json.h"

#include "core/encode.h"
#include "core/mem.h"
#include "secret.h"
#include "value.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ENCODER "moonport.json.encoder"

typedef struct {
  lua_State *L;
  mp_buf out;
  int indent; /* spaces per level; 0: all on one line */
  bool sort_keys;
  bool replace;      /* wrong UTF-8 becomes U+FFFD */
  bool secrets;      /* secrets are taken; the text is then a secret */
  bool holds_secret; /* so the memory is wiped */
  int depth, depth_most;
  const void *array_metatable;
} encoder;

/* Scalars */

static inline void put(encoder *self, const char *text, size_t len) {
  mp_buf *out = &self->out;
  if (out->cap - out->len <= len)
    mp_buf_reserve(out, len);
  memcpy(out->data + out->len, text, len);
  out->len += len;
}

static inline void put_char(encoder *self, char c) {
  put(self, &c, 1);
}

static void put_replaced(encoder *self, const char *text, size_t len) {
  while (len > 0) {
    size_t bad = len;
    bool good = mp_utf8_valid(text, len, &bad);
    mp_json_escape(&self->out, text, good ? len : bad);
    if (good)
      return;
    put(self, "\xef\xbf\xbd", 3);
    text += bad + 1;
    len -= bad + 1;
  }
}

/* 1: to be escaped, 2: not ASCII. */
static const unsigned char classes[256] = {
    [0 ... 31] = 1, ['"'] = 1, ['\\'] = 1, [128 ... 255] = 2};

static void put_string(encoder *self, const char *text, size_t len, const value_crumb *at) {
  unsigned seen = 0;
  for (size_t i = 0; i < len; i++)
    seen |= classes[(unsigned char)text[i]];
  put_char(self, '"');
  if ((seen & 2) && !mp_utf8_valid(text, len, NULL)) {
    if (!self->replace)
      value_fail(self->L, "json", "utf8", at, "the string is not valid UTF-8");
    put_replaced(self, text, len);
  } else if (seen & 1) {
    mp_json_escape(&self->out, text, len);
  } else {
    put(self, text, len);
  }
  put_char(self, '"');
}

static void put_integer(encoder *self, lua_Integer value) {
  char space[24], *end = space + sizeof space, *at = end;
  uint64_t digits = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do
    *--at = (char)('0' + digits % 10);
  while (digits /= 10);
  if (value < 0)
    *--at = '-';
  put(self, at, (size_t)(end - at));
}

static void put_number(encoder *self, int index, const value_crumb *at) {
  if (lua_isinteger(self->L, index)) {
    put_integer(self, lua_tointeger(self->L, index));
    return;
  }
  double value = lua_tonumber(self->L, index);
  if (!isfinite(value))
    value_fail(self->L, "json", "number", at, "JSON has no %s", isnan(value) ? "NaN" : "infinity");
  json_append_float(&self->out, value);
}

static void put_newline(encoder *self) {
  if (self->indent == 0)
    return;
  size_t spaces = (size_t)self->indent * (size_t)self->depth;
  put_char(self, '\n');
  memset(mp_buf_reserve(&self->out, spaces), ' ', spaces);
  self->out.len += spaces;
}

/* Containers. The table is on top of the stack, and is left there. */

static void put_value(encoder *self, const value_crumb *at);

static void enter(encoder *self, char bracket, const value_crumb *at) {
  if (self->depth == self->depth_most)
    value_fail(self->L, "json", MP_LIMIT, at, "nested deeper than %d (does it contain itself?)",
               self->depth_most);
  self->depth++;
  luaL_checkstack(self->L, 8, "the value is nested too deep");
  put_char(self, bracket);
}

static void leave(encoder *self, char bracket, bool empty) {
  self->depth--;
  if (!empty)
    put_newline(self);
  put_char(self, bracket);
}

static void put_array(encoder *self, const value_crumb *up) {
  lua_State *L = self->L;
  lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
  value_crumb at = {.up = up};
  if (!value_only_elements(L, count))
    value_fail_array(L, "json", up);
  enter(self, '[', up);
  for (lua_Integer i = 1; i <= count; i++) {
    if (i > 1)
      put_char(self, ',');
    put_newline(self);
    at.index = i;
    if (lua_rawgeti(L, -1, i) == LUA_TNIL)
      value_fail_array(L, "json", up);
    put_value(self, &at);
    lua_pop(L, 1);
  }
  leave(self, ']', count == 0);
}

/* The value is on top of the stack. */
static void put_member(encoder *self, const char *key, size_t len, const value_crumb *up,
                       bool *first) {
  value_crumb at = {.up = up, .key = key};
  if (!*first)
    put_char(self, ',');
  *first = false;
  put_newline(self);
  put_string(self, key, len, &at);
  put_char(self, ':');
  if (self->indent)
    put_char(self, ' ');
  put_value(self, &at);
}

static void put_unsorted(encoder *self, bool marked, const value_crumb *up, bool *first) {
  lua_State *L = self->L;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    size_t len;
    if (lua_type(L, -2) == LUA_TSTRING) {
      const char *key = lua_tolstring(L, -2, &len);
      put_member(self, key, len, up, first);
      continue;
    }
    const char *key = value_push_key(L, "json", -2, marked, &len, up);
    lua_insert(L, -2);
    put_member(self, key, len, up, first);
    lua_remove(L, -2);
  }
}

/* In the order that the object remembers, or by bytes. */
static void put_sorted(encoder *self, bool marked, const value_crumb *up, bool *first) {
  lua_State *L = self->L;
  int table = lua_gettop(L);
  lua_Integer count = value_push_keys(L, "json", table, marked, up);
  for (lua_Integer i = 1; i <= count; i++) {
    size_t len;
    lua_rawgeti(L, table + 2, i);
    const char *key = lua_tolstring(L, -1, &len);
    lua_pushvalue(L, -1);
    lua_rawget(L, table + 1);
    lua_rawget(L, table);
    put_member(self, key, len, up, first);
    lua_pop(L, 2);
  }
  lua_settop(L, table);
}

static void put_object(encoder *self, bool marked, const value_crumb *up) {
  bool first = true;
  enter(self, '{', up);
  if (self->sort_keys || (marked && value_has_order(self->L, -1)))
    put_sorted(self, marked, up, &first);
  else
    put_unsorted(self, marked, up, &first);
  leave(self, '}', first);
}

static void put_literal(encoder *self, const value_crumb *at) {
  size_t len = 0;
  lua_rawgeti(self->L, -1, 1);
  const char *text = lua_type(self->L, -1) == LUA_TSTRING ? lua_tolstring(self->L, -1, &len) : NULL;
  if (text == NULL || !json_is_number(text, len)) {
    value_fail(self->L, "json", "number", at, "it is not a number by JSON's grammar");
    return;
  }
  put(self, text, len);
  lua_pop(self->L, 1);
}

static void put_table(encoder *self, const value_crumb *at) {
  value_kind kind = value_kind_of(self->L, self->array_metatable);
  switch (kind) {
  case VALUE_IS_ARRAY:
    put_array(self, at);
    break;
  case VALUE_IS_NUMBER:
    put_literal(self, at);
    break;
  default:
    put_object(self, kind == VALUE_IS_MARKED_OBJECT, at);
  }
}

static void put_secret(encoder *self, const value_crumb *at) {
  if (!self->secrets)
    value_fail(self->L, "json", "secret", at, "it is a secret, which must not become plain text");
  size_t len;
  const char *text = mp_secret_tolstring(self->L, -1, &len);
  self->holds_secret = true;
  put_string(self, text, len, at);
}

static void put_other(encoder *self, const value_crumb *at) {
  if (mp_is_secret(self->L, -1)) {
    put_secret(self, at);
    return;
  }
  value_fail(self->L, "json", "type", at, "JSON has no %s", luaL_typename(self->L, -1));
}

static void put_value(encoder *self, const value_crumb *at) {
  lua_State *L = self->L;
  size_t len;
  switch (lua_type(L, -1)) {
  case LUA_TSTRING: {
    const char *text = lua_tolstring(L, -1, &len);
    put_string(self, text, len, at);
    break;
  }
  case LUA_TNUMBER:
    put_number(self, -1, at);
    break;
  case LUA_TBOOLEAN:
    if (lua_toboolean(L, -1))
      put(self, "true", 4);
    else
      put(self, "false", 5);
    break;
  case LUA_TTABLE:
    put_table(self, at);
    break;
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(L, -1) == NULL) {
      put(self, "null", 4);
      break;
    }
    put_other(self, at);
    break;
  default:
    put_other(self, at);
  }
}

static int encoder_gc(lua_State *L) {
  encoder *self = lua_touserdata(L, 1);
  if (self->holds_secret)
    mp_buf_wipe(&self->out);
  mp_buf_free(&self->out);
  return 0;
}

static void read_options(lua_State *L, int index, encoder *self) {
  if (lua_isnoneornil(L, index))
    return;
  luaL_checktype(L, index, LUA_TTABLE);
  if (lua_getfield(L, index, "indent") != LUA_TNIL) {
    lua_Integer indent = luaL_checkinteger(L, -1);
    luaL_argcheck(L, indent >= 0 && indent <= 16, index, "indent must be from 0 to 16");
    self->indent = (int)indent;
  }
  self->sort_keys = self->indent > 0;
  if (lua_getfield(L, index, "sort_keys") != LUA_TNIL)
    self->sort_keys = lua_toboolean(L, -1);
  if (lua_getfield(L, index, "invalid_utf8") != LUA_TNIL) {
    static const char *const choices[] = {"error", "replace", NULL};
    self->replace = luaL_checkoption(L, -1, NULL, choices) == 1;
  }
  if (lua_getfield(L, index, "depth") != LUA_TNIL) {
    lua_Integer depth = luaL_checkinteger(L, -1);
    luaL_argcheck(L, depth >= 1 && depth <= 10000, index, "depth must be from 1 to 10000");
    self->depth_most = (int)depth;
  }
  lua_getfield(L, index, "secrets");
  self->secrets = lua_toboolean(L, -1);
  lua_pop(L, 5);
}

int json_encode(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 2);
  /* A userdata, since an error jumps over us. */
  encoder *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (encoder){.L = L, .depth_most = VALUE_DEPTH};
  if (luaL_newmetatable(L, ENCODER)) {
    lua_pushcfunction(L, encoder_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  read_options(L, 2, self);
  luaL_getmetatable(L, VALUE_ARRAY);
  self->array_metatable = lua_topointer(L, -1);
  lua_pushvalue(L, 1);
  put_value(self, NULL);
  if (self->holds_secret) {
    mp_push_encoded_secret(L, self->out.data, self->out.len, "json");
    mp_buf_wipe(&self->out);
    return 1;
  }
  lua_pushlstring(L, self->out.data, self->out.len);
  mp_buf_free(&self->out);
  return 1;
}
