/*** JSON, exactly: what is decoded and encoded again is the same document.
 *
 * Arrays carry a mark (a metatable), so an empty array stays one; a table without a mark is an
 * array when it has element 1, and an object otherwise, so `{}` is the empty object. `null` is
 * `json.null`. Integers are Lua integers and `1.0` is a float; a number that neither can hold
 * (beyond 64 bits, beyond a double's range) is kept as its text, a `json.number`.
 *
 * Text is UTF-8; anything else is an error, as are lone surrogates, NaN and infinity. A secret in
 * a value to be encoded raises, unless the text is to be a secret too. Errors while decoding have
 * `line`, `column` and `source`; those while encoding name the place, like `$.spec.ports[2]`.
 *
 *     local json = require "moonport.json"
 *     local list = json.decode('{"items":[]}')
 *     list.items[1] = { name = "a", ports = json.array {} }
 *     print(json.encode(list, { indent = 2 }))
 * @module moonport.json
 */
#include "bind_json.h"

#include "errors.h"
#include "json.h"
#include "value.h"

#include <string.h>

/*** Decodes one document.
 * @function decode
 * @tparam string text
 * @tparam[opt] table options `source`: the file's name, for errors; `order=true`: objects remember
 * the order of their keys, which `pairs` and `encode` then follow; `unique_keys=true`: a key that
 * appears twice in an object is an error (else the last one counts); `depth`: how deep it may be
 * nested (512)
 * @treturn any
 * @raise kind "json": code "syntax", "utf8", "duplicate", "limit"
 */
static int l_decode(lua_State *L) {
  size_t len;
  json_decode_options options;
  const char *text = luaL_checklstring(L, 1, &len);
  lua_settop(L, 2);
  json_read_decode_options(L, 2, &options);
  if (len >= 3 && text[0] == '\xef' && text[1] == '\xbb' && text[2] == '\xbf') {
    text += 3; /* a byte order mark says nothing in UTF-8 */
    len -= 3;
  }
  json_decode(L, text, len, &options);
  return 1;
}

/*** Encodes a value.
 * @function encode
 * @tparam any value
 * @tparam[opt] table options `indent`: spaces for each level, over several lines; `sort_keys`: by
 * bytes (default with `indent`; otherwise the order is any, but for objects that remember theirs);
 *   `invalid_utf8="replace"`: put U+FFFD in place of raising; `depth`: how deep it may be nested
 * (512); `secrets=true`: secrets in the value are taken, and make the text a secret
 * @treturn string|secret
 * @raise kind "json": code "type", "mixed", "number", "utf8", "secret", "limit", "duplicate"
 */

/*** The value of JSON's `null`. It is true in a condition: compare with `==`.
 * @table null
 */

/*** Makes a parser for values that follow one another (NDJSON, or with any or no space between),
 * arriving in pieces cut anywhere.
 *
 *     local parser = json.parser { source = "events" }
 *     for chunk in response:chunks() do
 *       for event in parser:feed(chunk) do print(event.type) end
 *     end
 *     for event in parser:finish() do print(event.type) end
 * A value that is wrong raises from the loop and is passed over: the next call goes on behind it.
 * `finish` raises where the last value is not whole.
 * @function parser
 * @tparam[opt] table options as for `decode`, and `max`: how large one value may be (64 MiB)
 * @treturn parser with `:feed(chunk)` and `:finish()`, which return iterators, and `:next()`
 */

static int mark(lua_State *L, const char *metatable) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (luaL_getmetafield(L, 1, "__name") != LUA_TNIL) {
    const char *name = lua_tostring(L, -1);
    if (lua_tostring(L, -1) && strncmp(name, "json.", 5) != 0)
      return mp_bad_argument(L, "the table already has a metatable (`%s`)", name);
    lua_pop(L, 1);
  } else if (lua_getmetatable(L, 1)) {
    return mp_bad_argument(L, "the table already has a metatable");
  }
  luaL_setmetatable(L, metatable);
  return 1;
}

/*** Marks a table as an array, which it stays when it is empty.
 * @function array
 * @tparam[opt] table t a new one without it
 * @treturn table the same
 */
static int l_array(lua_State *L) {
  return mark(L, VALUE_ARRAY);
}

/*** Marks a table as an object even where its keys are 1 to n; they become strings.
 * @function object
 * @tparam[opt] table t a new one without it
 * @treturn table the same
 */
static int l_object(lua_State *L) {
  return mark(L, VALUE_OBJECT);
}

static int has_metatable(lua_State *L, const char *metatable) {
  bool same = false;
  if (lua_istable(L, 1) && lua_getmetatable(L, 1)) {
    luaL_getmetatable(L, metatable);
    same = lua_rawequal(L, -1, -2);
  }
  lua_pushboolean(L, same);
  return 1;
}

/*** Tells whether a value is marked as an array.
 * @function is_array
 * @tparam any value
 * @treturn boolean
 */
static int l_is_array(lua_State *L) {
  return has_metatable(L, VALUE_ARRAY);
}

/*** Makes a number from its text, kept as it is: for what no Lua number holds.
 * @function number
 * @tparam string text
 * @treturn number whose `tostring` is the text
 */
static int l_number(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  if (!json_is_number(text, len))
    return mp_bad_argument(L, "`%s` is not a number by JSON's grammar", text);
  json_push_literal(L, text, len);
  return 1;
}

/*** Tells whether a value is a number kept as its text.
 * @function is_number
 * @tparam any value
 * @treturn boolean
 */
static int l_is_number(lua_State *L) {
  return has_metatable(L, VALUE_NUMBER);
}

static int number_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_rawgeti(L, 1, 1);
  luaL_tolstring(L, -1, NULL);
  return 1;
}

static int number_equal(lua_State *L) {
  lua_rawgeti(L, 1, 1);
  lua_rawgeti(L, 2, 1);
  lua_pushboolean(L, lua_rawequal(L, -1, -2));
  return 1;
}

/* The keys that are still there in their order, then the others. */
static void push_keys(lua_State *L, int table) {
  lua_Integer count = 0;
  lua_newtable(L);
  lua_newtable(L); /* those listed */
  int keys = lua_gettop(L) - 1;
  if (luaL_getmetafield(L, table, VALUE_ORDER) != LUA_TNIL) {
    for (lua_Integer i = 1; lua_rawgeti(L, keys + 2, i) != LUA_TNIL; i++) {
      lua_pushvalue(L, -1);
      lua_pushboolean(L, true);
      lua_rawset(L, keys + 1);
      lua_rawseti(L, keys, ++count);
    }
    lua_pop(L, 2);
  }
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    if (lua_rawget(L, keys + 1) == LUA_TNIL) {
      lua_pushvalue(L, -3);
      lua_rawseti(L, keys, ++count);
    }
    lua_pop(L, 1);
  }
  lua_settop(L, keys);
}

/* upvalues: table, keys, position */
static int next_pair(lua_State *L) {
  lua_Integer at = lua_tointeger(L, lua_upvalueindex(3));
  lua_settop(L, 0);
  while (lua_rawgeti(L, lua_upvalueindex(2), ++at) != LUA_TNIL) {
    lua_pushvalue(L, 1);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
      lua_pushinteger(L, at);
      lua_replace(L, lua_upvalueindex(3));
      return 2;
    }
    lua_settop(L, 0);
  }
  return 0;
}

static int object_pairs(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  push_keys(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_pair, 3);
  return 1;
}

void json_make_metatables(lua_State *L) {
  static const luaL_Reg object[] = {{"__pairs", object_pairs}, {NULL, NULL}};
  static const luaL_Reg number[] = {
      {"__tostring", number_tostring}, {"__eq", number_equal}, {NULL, NULL}};
  luaL_newmetatable(L, VALUE_ARRAY);
  luaL_newmetatable(L, VALUE_OBJECT);
  luaL_setfuncs(L, object, 0);
  luaL_newmetatable(L, VALUE_NUMBER);
  luaL_setfuncs(L, number, 0);
  lua_pop(L, 3);
}

int luaopen_moonport_json(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"decode", l_decode}, {"encode", json_encode},    {"parser", json_parser},
      {"array", l_array},   {"object", l_object},       {"is_array", l_is_array},
      {"number", l_number}, {"is_number", l_is_number}, {NULL, NULL}};
  json_make_metatables(L);
  luaL_newlib(L, functions);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  return 1;
}
