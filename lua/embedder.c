/* moonport-embedder SCRIPT [ARGS...]: runs a Lua script of the build with the very library that
 * moonport is linked with, so that what this compiles, that runs. The script finds in the global
 * `lua_ident` which release it is. It is not installed. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

static int run(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  luaL_openlibs(L);
  lua_pushstring(L, lua_ident);
  lua_setglobal(L, "lua_ident");
  luaL_checkstack(L, argc, "too many arguments");
  if (luaL_loadfilex(L, argv[1], "t") != LUA_OK)
    return lua_error(L);
  for (int i = 2; i < argc; i++)
    lua_pushstring(L, argv[i]);
  lua_call(L, argc - 2, 0);
  return 0;
}

int main(int argc, char **argv) {
  lua_State *L = argc > 1 ? luaL_newstate() : NULL;
  if (L == NULL) {
    fprintf(stderr, "usage: moonport-embedder SCRIPT [ARGS...]\n");
    return 2;
  }
  lua_pushcfunction(L, run);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  int status = lua_pcall(L, 2, 0, 0);
  if (status != LUA_OK)
    fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return status == LUA_OK ? 0 : 1;
}
