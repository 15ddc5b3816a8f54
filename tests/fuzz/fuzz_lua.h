/* What the fuzzers share: a Lua state with one module, and protected calls. */
#ifndef MP_TESTS_FUZZ_LUA_H
#define MP_TESTS_FUZZ_LUA_H

#include "lua/secret.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No secret comes out of a text. */
bool mp_is_secret(lua_State *L, int index) {
  (void)L;
  (void)index;
  return false;
}

const char *mp_secret_tolstring(lua_State *L, int index, size_t *len) {
  return lua_isstring(L, index) ? lua_tolstring(L, index, len) : NULL;
}

void mp_push_encoded_secret(lua_State *L, const char *bytes, size_t len, const char *encoding) {
  (void)encoding;
  lua_pushlstring(L, bytes, len);
}

/* A broken promise ends the fuzzer, which then keeps the input. */
static inline void promise(bool kept, const char *what) {
  if (kept)
    return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

static inline lua_State *state_with(lua_CFunction module) {
  lua_State *L = luaL_newstate();
  luaL_requiref(L, "_G", luaopen_base, 1);
  luaL_newmetatable(L, "moonport.error");
  lua_settop(L, 0);
  lua_pushcfunction(L, module);
  lua_call(L, 0, 1); /* the module stays at index 1 */
  return L;
}

/* Calls module.name with the `nargs` values on top. True with one result, false with the error. */
static inline bool call(lua_State *L, const char *name, int nargs) {
  lua_getfield(L, 1, name);
  lua_insert(L, -nargs - 1);
  return lua_pcall(L, nargs, 1, 0) == LUA_OK;
}

#endif
