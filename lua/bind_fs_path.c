/* The part of moonport.core.fs that is about paths as text. */
#include "bind_fs.h"

#include "core/mem.h"
#include "core/path.h"
#include "errors.h"

#include <lauxlib.h>
#include <stdlib.h>

/* Pushes a string of ours and frees it. Lua may fail to push it only when memory is out. */
static int push_owned(lua_State *L, char *text) {
  lua_pushstring(L, text);
  free(text);
  return 1;
}

static int l_join(lua_State *L) {
  int count = lua_gettop(L);
  luaL_checkstring(L, 1);
  lua_pushvalue(L, 1);
  for (int i = 2; i <= count; i++) {
    push_owned(L, mp_path_join(lua_tostring(L, -1), luaL_checkstring(L, i)));
    lua_remove(L, -2);
  }
  return 1;
}

static int l_dirname(lua_State *L) {
  return push_owned(L, mp_path_dirname(luaL_checkstring(L, 1)));
}

static int l_basename(lua_State *L) {
  return push_owned(L, mp_path_basename(luaL_checkstring(L, 1)));
}

static int l_extension(lua_State *L) {
  return push_owned(L, mp_path_extension(luaL_checkstring(L, 1)));
}

static int l_normalize(lua_State *L) {
  return push_owned(L, mp_path_normalize(luaL_checkstring(L, 1)));
}

static char *absolute(lua_State *L, const char *path) {
  mp_error err = MP_ERROR_INIT;
  char *result = mp_path_absolute(path, &err);
  if (result == NULL)
    mp_throw(L, &err);
  return result;
}

/* absolute(path [, base]): the base is itself taken from the working directory. */
static int l_absolute(lua_State *L) {
  const char *path = luaL_checkstring(L, 1), *base = luaL_optstring(L, 2, "");
  char *joined = mp_path_join(base, path);
  push_owned(L, joined);
  return push_owned(L, absolute(L, lua_tostring(L, -1)));
}

static int l_relative(lua_State *L) {
  const char *path = luaL_checkstring(L, 1), *from = luaL_optstring(L, 2, "");
  push_owned(L, absolute(L, path));
  push_owned(L, absolute(L, from));
  return push_owned(L, mp_path_relative(lua_tostring(L, -2), lua_tostring(L, -1)));
}

static int l_expand(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  char *path = mp_path_expand(luaL_checkstring(L, 1), &err);
  return path ? push_owned(L, path) : mp_throw(L, &err);
}

static int l_cwd(lua_State *L) {
  return push_owned(L, absolute(L, "."));
}

void fs_set_paths(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"absolute", l_absolute}, {"basename", l_basename},
      {"cwd", l_cwd},           {"dirname", l_dirname},
      {"expand", l_expand},     {"extension", l_extension},
      {"join", l_join},         {"normalize", l_normalize},
      {"relative", l_relative}, {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}
