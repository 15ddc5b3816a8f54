/* YAML: whatever decodes also encodes, and that decodes to the same again. */
#include "fuzz_lua.h"

#include "lua/bind_yaml.h"

static lua_State *L;

static void push_options(unsigned flags) {
  lua_newtable(L);
  lua_pushboolean(L, flags & 1);
  lua_setfield(L, -2, "order");
  lua_pushliteral(L, "fuzz");
  lua_setfield(L, -2, "source");
}

/* Pushes the decoded documents; false with the error. */
static bool decode(unsigned flags) {
  push_options(flags);
  return call(L, "decode_all", 2);
}

static void encode(unsigned flags) {
  push_options(flags);
  promise(call(L, "encode_all", 2), "encode what was decoded");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (L == NULL)
    L = state_with(luaopen_moonport_yaml);
  if (size < 1)
    return 0;
  lua_pushlstring(L, (const char *)data + 1, size - 1);
  if (decode(data[0])) {
    encode(data[0]);
    lua_pushvalue(L, -1);
    promise(decode(data[0]), "decode what was encoded");
    encode(data[0]);
    promise(lua_rawequal(L, -1, -2), "the second round gives the same text");
  }
  lua_settop(L, 1);
  return 0;
}
