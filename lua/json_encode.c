/* From Lua values to text, straight into one buffer. */
#include "json.h"

#include "core/encode.h"
#include "core/mem.h"
#include "errors.h"
#include "secret.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ENCODER "moonport.json.encoder"

/* Where we are, for messages: one crumb per container. */
typedef struct crumb {
  const struct crumb *up;
  const char *key; /* NULL in an array */
  lua_Integer index;
} crumb;

typedef struct {
  const char *text; /* held by a table on the Lua stack */
  size_t len;
} member_key;

typedef struct {
  lua_State *L;
  mp_buf out;
  int indent; /* spaces per level; 0: all on one line */
  bool sort_keys;
  bool replace; /* wrong UTF-8 becomes U+FFFD */
  int depth, depth_most;
  const void *array_metatable;
  member_key *keys; /* owned scratch of a sort that is under way */
} encoder;

/* Messages */

static bool is_name(const char *key) {
  if (*key == '\0' || (*key >= '0' && *key <= '9'))
    return false;
  size_t len = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
  return key[len] == '\0' && len <= 80;
}

static void append_path(mp_buf *path, const crumb *at, int shown) {
  if (at == NULL) {
    mp_buf_puts(path, "$");
    return;
  }
  if (shown == 0)
    mp_buf_puts(path, "...");
  else
    append_path(path, at->up, shown - 1);
  if (at->key == NULL)
    mp_buf_printf(path, "[%lld]", (long long)at->index);
  else if (is_name(at->key))
    mp_buf_printf(path, ".%s", at->key);
  else
    mp_buf_printf(path, "[\"%.80s\"]", at->key);
}

static int fail(encoder *self, const char *code, const crumb *at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int fail(encoder *self, const char *code, const crumb *at, const char *format, ...) {
  mp_buf path = MP_BUF_INIT;
  mp_error err = MP_ERROR_INIT;
  va_list args;
  append_path(&path, at, 12);
  va_start(args, format);
  char *why = mp_vsprintf(format, args);
  va_end(args);
  mp_error_set(&err, "json", code, "cannot encode `%s`: %s", path.data, why);
  free(why);
  mp_buf_free(&path);
  return mp_throw(self->L, &err);
}

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

static void put_string(encoder *self, const char *text, size_t len, const crumb *at) {
  unsigned seen = 0;
  for (size_t i = 0; i < len; i++)
    seen |= classes[(unsigned char)text[i]];
  put_char(self, '"');
  if ((seen & 2) && !mp_utf8_valid(text, len, NULL)) {
    if (!self->replace)
      fail(self, "utf8", at, "the string is not valid UTF-8");
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

static void put_number(encoder *self, int index, const crumb *at) {
  if (lua_isinteger(self->L, index)) {
    put_integer(self, lua_tointeger(self->L, index));
    return;
  }
  double value = lua_tonumber(self->L, index);
  if (!isfinite(value))
    fail(self, "number", at, "JSON has no %s", isnan(value) ? "NaN" : "infinity");
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

static void put_value(encoder *self, const crumb *at);

static void enter(encoder *self, char bracket, const crumb *at) {
  if (self->depth == self->depth_most)
    fail(self, MP_LIMIT, at, "nested deeper than %d (does it contain itself?)", self->depth_most);
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

/* True when nothing but 1..count is in the table. After key `count` the rest follows, or, where the
 * elements are not all in the table's array part, they do in any order: then all are counted. */
static bool only_elements(lua_State *L, lua_Integer count) {
  lua_Integer found = 0;
  if (count > 0) {
    lua_pushinteger(L, count);
    if (!lua_next(L, -2))
      return true;
    lua_pop(L, 2);
  }
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > count) {
      lua_pop(L, 2);
      return false;
    }
    found++;
  }
  return found == count;
}

static void fail_as_array(encoder *self, const crumb *at) {
  fail(self, "mixed", at,
       "an array's keys must be 1 to n without a gap (json.null fills one, json.object makes an "
       "object of it)");
}

static void put_array(encoder *self, const crumb *up) {
  lua_State *L = self->L;
  lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
  crumb at = {.up = up};
  if (!only_elements(L, count))
    fail_as_array(self, up);
  enter(self, '[', up);
  for (lua_Integer i = 1; i <= count; i++) {
    if (i > 1)
      put_char(self, ',');
    put_newline(self);
    at.index = i;
    if (lua_rawgeti(L, -1, i) == LUA_TNIL)
      fail_as_array(self, up);
    put_value(self, &at);
    lua_pop(L, 1);
  }
  leave(self, ']', count == 0);
}

/* The value is on top of the stack. */
static void put_member(encoder *self, const char *key, size_t len, const crumb *up, bool *first) {
  crumb at = {.up = up, .key = key};
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

/* Pushes the key at `index` as a string; numbers only where `marked` says that it is an object. */
static const char *push_key(encoder *self, int index, bool marked, size_t *len, const crumb *up) {
  lua_State *L = self->L;
  lua_pushvalue(L, index);
  if (lua_type(L, -1) == LUA_TSTRING || (marked && lua_isinteger(L, -1)))
    return lua_tolstring(L, -1, len);
  if (lua_isinteger(L, -1))
    fail(self, "mixed", up,
         "it has the key %lld, but is no array from 1 to n (json.null fills a gap, json.object "
         "makes an object of it)",
         (long long)lua_tointeger(L, -1));
  fail(self, "type", up, "a %s cannot be a key", luaL_typename(L, -1));
  return NULL;
}

static void put_unsorted(encoder *self, bool marked, const crumb *up, bool *first) {
  lua_State *L = self->L;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    size_t len;
    if (lua_type(L, -2) == LUA_TSTRING) {
      const char *key = lua_tolstring(L, -2, &len);
      put_member(self, key, len, up, first);
      continue;
    }
    const char *key = push_key(self, -2, marked, &len, up);
    lua_insert(L, -2);
    put_member(self, key, len, up, first);
    lua_remove(L, -2);
  }
}

/* Lua's own comparison is by the user's language; this is by bytes. */
static int compare_keys(const void *a, const void *b) {
  const member_key *left = a, *right = b;
  size_t common = left->len < right->len ? left->len : right->len;
  int order = memcmp(left->text, right->text, common);
  return order ? order : (left->len > right->len) - (left->len < right->len);
}

/* Pushes an array of all keys, sorted, less those that are in the set at `skip` (0: none). */
static lua_Integer push_sorted_keys(encoder *self, int table, int skip, const crumb *up) {
  lua_State *L = self->L;
  size_t count = 0, room = 0;
  lua_newtable(L); /* holds what the scratch array points to */
  int list = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    size_t len = 0;
    if (skip) {
      lua_pushvalue(L, -2);
      bool skipped = lua_rawget(L, skip) != LUA_TNIL;
      lua_pop(L, 1);
      if (skipped)
        continue;
    }
    const char *key = push_key(self, -2, true, &len, up);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, list) != LUA_TNIL)
      fail(self, "duplicate", up, "the key \"%s\" is there as a number and as a string", key);
    lua_pop(L, 1);
    lua_pushvalue(L, -3);
    lua_rawset(L, list); /* as text -> as it is in the table */
    if (count == room) {
      room = room ? room * 2 : 16;
      self->keys = mp_realloc(self->keys, room * sizeof *self->keys);
    }
    self->keys[count++] = (member_key){key, len};
  }
  if (count > 1)
    qsort(self->keys, count, sizeof *self->keys, compare_keys);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushlstring(L, self->keys[i].text, self->keys[i].len);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return (lua_Integer)count; /* pushed: text -> key, list of texts */
}

static void put_sorted(encoder *self, int skip, const crumb *up, bool *first) {
  lua_State *L = self->L;
  int table = lua_gettop(L);
  luaL_checkstack(L, 12, "the value is nested too deep");
  lua_Integer count = push_sorted_keys(self, table, skip, up);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, table + 2, i);
    size_t len;
    const char *key = lua_tolstring(L, -1, &len);
    lua_pushvalue(L, -1);
    lua_rawget(L, table + 1);
    lua_rawget(L, table);
    put_member(self, key, len, up, first);
    lua_pop(L, 2);
  }
  lua_settop(L, table);
}

/* First the keys that were remembered, in their order, then what came later, sorted. The list is on
 * top of the stack, above the table. */
static void put_ordered(encoder *self, const crumb *up, bool *first) {
  lua_State *L = self->L;
  int table = lua_gettop(L) - 1;
  luaL_checkstack(L, 8, "the value is nested too deep");
  lua_newtable(L); /* those done */
  lua_Integer count = (lua_Integer)lua_rawlen(L, table + 1);
  for (lua_Integer i = 1; i <= count; i++) {
    size_t len;
    lua_rawgeti(L, table + 1, i);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, table) != LUA_TNIL) {
      const char *key = lua_tolstring(L, -2, &len);
      lua_pushvalue(L, -2);
      lua_pushboolean(L, true);
      lua_rawset(L, table + 2);
      put_member(self, key, len, up, first);
    }
    lua_pop(L, 2);
  }
  lua_pushvalue(L, table);
  put_sorted(self, table + 2, up, first);
  lua_settop(L, table);
}

/* The list of keys that the table's metatable remembers, pushed, or nothing. */
static bool push_order(lua_State *L) {
  if (!lua_getmetatable(L, -1))
    return false;
  lua_pushliteral(L, JSON_ORDER);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  if (lua_istable(L, -1))
    return true;
  lua_pop(L, 1);
  return false;
}

static void put_object(encoder *self, bool marked, const crumb *up) {
  bool first = true;
  enter(self, '{', up);
  if (marked && push_order(self->L))
    put_ordered(self, up, &first);
  else if (self->sort_keys)
    put_sorted(self, 0, up, &first);
  else
    put_unsorted(self, marked, up, &first);
  leave(self, '}', first);
}

typedef enum { PLAIN, ARRAY, OBJECT, NUMBER } mark;

/* What the table's metatable says of it. */
static mark mark_of(encoder *self) {
  lua_State *L = self->L;
  if (!lua_getmetatable(L, -1))
    return PLAIN;
  mark found = PLAIN;
  if (lua_topointer(L, -1) == self->array_metatable) {
    found = ARRAY;
  } else {
    lua_pushliteral(L, "__name");
    const char *name = lua_rawget(L, -2) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    found = strcmp(name, JSON_OBJECT) == 0   ? OBJECT
            : strcmp(name, JSON_NUMBER) == 0 ? NUMBER
            : strcmp(name, JSON_ARRAY) == 0  ? ARRAY
                                             : PLAIN;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return found;
}

static void put_literal(encoder *self, const crumb *at) {
  size_t len = 0;
  lua_rawgeti(self->L, -1, 1);
  const char *text = lua_type(self->L, -1) == LUA_TSTRING ? lua_tolstring(self->L, -1, &len) : NULL;
  if (text == NULL || !json_is_number(text, len)) {
    fail(self, "number", at, "it is not a number by JSON's grammar");
    return;
  }
  put(self, text, len);
  lua_pop(self->L, 1);
}

/* A table without a mark is an array when it has element 1, and an object otherwise. */
static bool looks_like_array(lua_State *L) {
  bool array = lua_rawgeti(L, -1, 1) != LUA_TNIL;
  lua_pop(L, 1);
  return array;
}

static void put_table(encoder *self, const crumb *at) {
  switch (mark_of(self)) {
  case ARRAY:
    put_array(self, at);
    break;
  case OBJECT:
    put_object(self, true, at);
    break;
  case NUMBER:
    put_literal(self, at);
    break;
  case PLAIN:
    if (looks_like_array(self->L))
      put_array(self, at);
    else
      put_object(self, false, at);
  }
}

static void put_other(encoder *self, const crumb *at) {
  if (mp_is_secret(self->L, -1))
    fail(self, "secret", at, "it is a secret, which must not become plain text");
  fail(self, "type", at, "JSON has no %s", luaL_typename(self->L, -1));
}

static void put_value(encoder *self, const crumb *at) {
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
  mp_buf_free(&self->out);
  free(self->keys);
  self->keys = NULL;
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
  lua_pop(L, 4);
}

int json_encode(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 2);
  /* A userdata, since an error jumps over us. */
  encoder *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (encoder){.L = L, .depth_most = JSON_DEPTH};
  if (luaL_newmetatable(L, ENCODER)) {
    lua_pushcfunction(L, encoder_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  read_options(L, 2, self);
  luaL_getmetatable(L, JSON_ARRAY);
  self->array_metatable = lua_topointer(L, -1);
  lua_pushvalue(L, 1);
  put_value(self, NULL);
  lua_pushlstring(L, self->out.data, self->out.len);
  mp_buf_free(&self->out);
  return 1;
}
