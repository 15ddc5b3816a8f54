/* JSON: whatever decodes also encodes, and that decodes to the same again; a stream gives the same
 * values wherever it is cut. */
#include "fuzz_lua.h"

#include "lua/bind_json.h"

static lua_State *L;

static void push_options(unsigned flags) {
  lua_newtable(L);
  lua_pushboolean(L, flags & 1);
  lua_setfield(L, -2, "order");
  lua_pushboolean(L, flags & 2);
  lua_setfield(L, -2, "unique_keys");
  lua_pushliteral(L, "fuzz");
  lua_setfield(L, -2, "source");
  lua_pushboolean(L, true);
  lua_setfield(L, -2, "sort_keys");
  lua_pushinteger(L, flags & 4 ? 2 : 0);
  lua_setfield(L, -2, "indent");
}

/* Replaces the value on top by its text. */
static void encode(unsigned flags) {
  push_options(flags);
  promise(call(L, "encode", 2), "encode what was decoded");
}

static void round_trip(const char *text, size_t len, unsigned flags) {
  lua_pushlstring(L, text, len);
  push_options(flags);
  if (!call(L, "decode", 2))
    return;
  encode(flags);
  lua_pushvalue(L, -1);
  push_options(flags);
  if (call(L, "decode", 2)) {
    encode(flags);
    promise(lua_rawequal(L, -1, -2), "the second round gives the same text");
  }
}

static void call_method(int parser, const char *name, const char *chunk, size_t len) {
  lua_getfield(L, parser, name);
  lua_pushvalue(L, parser);
  if (chunk)
    lua_pushlstring(L, chunk, len);
  lua_call(L, chunk ? 2 : 1, 0);
}

/* Appends what the parser has ready to the list: the values' texts, `!` for an error. */
static void take_ready(int parser, int list) {
  for (;;) {
    lua_getfield(L, parser, "next");
    lua_pushvalue(L, parser);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
      lua_pop(L, 1);
      lua_pushliteral(L, "!");
    } else if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      return;
    } else {
      encode(0);
    }
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
  }
}

/* Feeds the text in pieces of `step` bytes and pushes the list of all that came out. */
static void read_stream(const char *text, size_t len, size_t step) {
  lua_newtable(L);
  int list = lua_gettop(L);
  promise(call(L, "parser", 0), "make a parser");
  for (size_t at = 0; at < len; at += step) {
    call_method(list + 1, "feed", text + at, len - at < step ? len - at : step);
    take_ready(list + 1, list);
  }
  call_method(list + 1, "finish", NULL, 0);
  take_ready(list + 1, list);
  lua_settop(L, list);
}

static void promise_same_lists(int a, int b) {
  lua_Unsigned count = lua_rawlen(L, a);
  promise(count == lua_rawlen(L, b), "a cut stream has as many values");
  for (lua_Unsigned i = 1; i <= count; i++) {
    lua_rawgeti(L, a, (lua_Integer)i);
    lua_rawgeti(L, b, (lua_Integer)i);
    promise(lua_rawequal(L, -1, -2), "a cut stream has the same values");
    lua_pop(L, 2);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (L == NULL)
    L = state_with(luaopen_moonport_json);
  if (size < 1)
    return 0;
  const char *text = (const char *)data + 1;
  round_trip(text, size - 1, data[0]);
  lua_settop(L, 1);
  read_stream(text, size - 1, size);
  read_stream(text, size - 1, 1 + data[0] % 7);
  promise_same_lists(2, 3);
  lua_settop(L, 1);
  return 0;
}
