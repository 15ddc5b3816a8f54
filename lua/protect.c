/* pcall, xpcall and try, which let a task's own cancel through. */
#include "errors.h"
#include "task_internal.h"

#include <lauxlib.h>

/* Each keeps the protected function at index 1 for mp_task_in_close, and as its context whether the
 * task was being unwound already when it began. */

/* stack: function, true, results | error */
static int pcall_ended(lua_State *L, int status, lua_KContext unwinding) {
  if (status == LUA_OK || status == LUA_YIELD)
    return lua_gettop(L) - 1;
  mp_task_rethrow_cancel(L, unwinding);
  lua_pushboolean(L, false);
  lua_insert(L, -2);
  return 2;
}

static int protect_pcall(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushvalue(L, 1);
  lua_insert(L, 2);
  lua_pushboolean(L, true);
  lua_insert(L, 2);
  int nargs = lua_gettop(L) - 3;
  lua_KContext unwinding = mp_task_is_unwinding(L);
  int status = lua_pcallk(L, nargs, LUA_MULTRET, 0, unwinding, pcall_ended);
  return pcall_ended(L, status, unwinding);
}

/* stack: function, handler, true, results | error */
static int xpcall_ended(lua_State *L, int status, lua_KContext unwinding) {
  if (status == LUA_OK || status == LUA_YIELD)
    return lua_gettop(L) - 2;
  mp_task_rethrow_cancel(L, unwinding);
  lua_pushboolean(L, false);
  lua_insert(L, -2);
  return 2;
}

static int protect_xpcall(lua_State *L) {
  luaL_checktype(L, 2, LUA_TFUNCTION);
  int nargs = lua_gettop(L) - 2;
  lua_pushboolean(L, true);
  lua_insert(L, 3);
  lua_pushvalue(L, 1);
  lua_insert(L, 4);
  lua_KContext unwinding = mp_task_is_unwinding(L);
  int status = lua_pcallk(L, nargs, LUA_MULTRET, 2, unwinding, xpcall_ended);
  return xpcall_ended(L, status, unwinding);
}

/* stack: function, results | error */
static int try_ended(lua_State *L, int status, lua_KContext unwinding) {
  if (status == LUA_OK || status == LUA_YIELD)
    return lua_gettop(L) - 1;
  mp_task_rethrow_cancel(L, unwinding);
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/***
 * @submodule moonport
 */

/*** Calls a function and turns an error into a return value.
 * A cancel of the running task passes through.
 * @function try
 * @tparam function fn
 * @param ... arguments for `fn`
 * @return the results of `fn`, or nil and the error
 */
static int protect_try(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushvalue(L, 1);
  lua_insert(L, 2);
  int nargs = lua_gettop(L) - 2;
  lua_KContext unwinding = mp_task_is_unwinding(L);
  int status = lua_pcallk(L, nargs, LUA_MULTRET, 0, unwinding, try_ended);
  return try_ended(L, status, unwinding);
}

bool mp_protects(lua_CFunction function) {
  return function == protect_pcall || function == protect_xpcall || function == protect_try ||
         function == mp_task_body || function == mp_coroutine_body;
}

void mp_install_protect(lua_State *L) {
  lua_register(L, "pcall", protect_pcall);
  lua_register(L, "xpcall", protect_xpcall);
  lua_register(L, "try", protect_try);
}
