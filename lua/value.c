#include "value.h"

#include "core/buf.h"
#include "core/mem.h"
#include "errors.h"

#include <stdlib.h>
#include <string.h>

/* Where */

static bool is_name(const char *key) {
  if (*key == '\0' || (*key >= '0' && *key <= '9'))
    return false;
  size_t len = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
  return key[len] == '\0' && len <= 80;
}

static void append_path(mp_buf *path, const value_crumb *at, int shown) {
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

int value_fail(lua_State *L, const char *kind, const char *code, const value_crumb *at,
               const char *format, ...) {
  mp_buf path = MP_BUF_INIT;
  mp_error err = MP_ERROR_INIT;
  va_list args;
  append_path(&path, at, 12);
  va_start(args, format);
  char *why = mp_vsprintf(format, args);
  va_end(args);
  mp_error_set(&err, kind, code, "cannot encode `%s`: %s", path.data, why);
  free(why);
  mp_buf_free(&path);
  return mp_throw(L, &err);
}

int value_fail_array(lua_State *L, const char *kind, const value_crumb *at) {
  return value_fail(L, kind, "mixed", at,
                    "an array's keys must be 1 to n without a gap (json.null fills one, "
                    "json.object makes an object of it)");
}

/* What */

/* A table without a mark is an array when it has element 1, and an object otherwise. */
static value_kind plain_kind(lua_State *L) {
  bool array = lua_rawgeti(L, -1, 1) != LUA_TNIL;
  lua_pop(L, 1);
  return array ? VALUE_IS_ARRAY : VALUE_IS_OBJECT;
}

value_kind value_kind_of(lua_State *L, const void *array_metatable) {
  static const struct {
    const char *name;
    value_kind kind;
  } marks[] = {{VALUE_ARRAY, VALUE_IS_ARRAY},
               {VALUE_OBJECT, VALUE_IS_MARKED_OBJECT},
               {VALUE_NUMBER, VALUE_IS_NUMBER}};
  if (!lua_getmetatable(L, -1))
    return plain_kind(L);
  if (lua_topointer(L, -1) == array_metatable) {
    lua_pop(L, 1);
    return VALUE_IS_ARRAY;
  }
  lua_pushliteral(L, "__name");
  const char *name = lua_rawget(L, -2) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
    if (strcmp(name, marks[i].name) == 0) {
      lua_pop(L, 2);
      return marks[i].kind;
    }
  }
  lua_pop(L, 2);
  return plain_kind(L);
}

/* After key `count` the rest follows, or, where the elements are not all in the table's array part,
 * they do in any order: then all are counted. */
bool value_only_elements(lua_State *L, lua_Integer count) {
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

/* Keys */

const char *value_push_key(lua_State *L, const char *kind, int index, bool marked, size_t *len,
                           const value_crumb *at) {
  lua_pushvalue(L, index);
  if (lua_type(L, -1) == LUA_TSTRING || (marked && lua_isinteger(L, -1)))
    return lua_tolstring(L, -1, len);
  if (lua_isinteger(L, -1))
    value_fail(L, kind, "mixed", at,
               "it has the key %lld, but is no array from 1 to n (json.null fills a gap, "
               "json.object makes an object of it)",
               (long long)lua_tointeger(L, -1));
  value_fail(L, kind, "type", at, "a %s cannot be a key", luaL_typename(L, -1));
  return NULL;
}

/* Pushes the list of keys that the table's metatable remembers, or nothing. */
static bool push_order(lua_State *L, int index) {
  if (!lua_getmetatable(L, index))
    return false;
  lua_pushliteral(L, VALUE_ORDER);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  if (lua_istable(L, -1))
    return true;
  lua_pop(L, 1);
  return false;
}

bool value_has_order(lua_State *L, int index) {
  bool has = push_order(L, index);
  lua_pop(L, has);
  return has;
}

typedef struct {
  const char *text; /* held by the table of texts */
  size_t len;
  lua_Integer place; /* in the remembered order; 0: not there */
} sort_key;

/* Lua's own comparison is by the user's language; this is by bytes. */
static int compare_keys(const void *a, const void *b) {
  const sort_key *left = a, *right = b;
  if (left->place || right->place) {
    if (left->place == 0 || right->place == 0)
      return left->place ? -1 : 1;
    return left->place < right->place ? -1 : left->place > right->place;
  }
  size_t common = left->len < right->len ? left->len : right->len;
  int order = memcmp(left->text, right->text, common);
  return order ? order : (left->len > right->len) - (left->len < right->len);
}

/* Pushes a table from remembered keys to their places, or nil. */
static void push_places(lua_State *L, int table) {
  if (!push_order(L, table)) {
    lua_pushnil(L);
    return;
  }
  lua_newtable(L);
  for (lua_Integer i = 1; lua_rawgeti(L, -2, i) != LUA_TNIL; i++) {
    lua_pushinteger(L, i);
    lua_rawset(L, -3);
  }
  lua_pop(L, 1);
  lua_remove(L, -2);
}

static lua_Integer place_of(lua_State *L, int places, int key) {
  if (!lua_istable(L, places))
    return 0;
  lua_pushvalue(L, key);
  lua_rawget(L, places);
  lua_Integer place = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return place;
}

static size_t count_keys(lua_State *L, int table) {
  size_t count = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
    count++;
  return count;
}

/* Fills `keys` and the table of texts at `texts`. */
static void collect_keys(lua_State *L, const char *kind, int table, int texts, bool marked,
                         sort_key *keys, const value_crumb *at) {
  push_places(L, table);
  int places = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    lua_Integer place = place_of(L, places, -2);
    size_t len;
    const char *text = value_push_key(L, kind, -2, marked, &len, at);
    *keys++ = (sort_key){text, len, place};
    lua_pushvalue(L, -1);
    if (lua_rawget(L, texts) != LUA_TNIL)
      value_fail(L, kind, "duplicate", at, "the key \"%s\" is there as a number and as a string",
                 text);
    lua_pop(L, 1);
    lua_pushvalue(L, -3);
    lua_rawset(L, texts);
  }
  lua_pop(L, 1);
}

lua_Integer value_push_keys(lua_State *L, const char *kind, int table, bool marked,
                            const value_crumb *at) {
  luaL_checkstack(L, 12, "the value is nested too deep");
  size_t count = count_keys(L, table);
  sort_key *keys = lua_newuserdatauv(L, count * sizeof *keys + 1, 0);
  lua_createtable(L, 0, (int)count);
  int texts = lua_gettop(L);
  collect_keys(L, kind, table, texts, marked, keys, at);
  if (count > 1)
    qsort(keys, count, sizeof *keys, compare_keys);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushlstring(L, keys[i].text, keys[i].len);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_remove(L, texts - 1);
  return (lua_Integer)count;
}

/* stack: ..., list, object */
void value_set_order(lua_State *L) {
  static const char *const fields[] = {"__name", "__pairs"};
  luaL_getmetatable(L, VALUE_OBJECT);
  lua_createtable(L, 0, 3);
  for (size_t i = 0; i < 2; i++) {
    lua_getfield(L, -2, fields[i]);
    lua_setfield(L, -2, fields[i]);
  }
  lua_pushvalue(L, -4);
  lua_setfield(L, -2, VALUE_ORDER);
  lua_setmetatable(L, -3);
  lua_pop(L, 1);
  lua_remove(L, -2);
}
