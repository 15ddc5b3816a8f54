/* The coroutine library, with waits passing through.
 *
 * A script's own coroutine may call a primitive that waits. The wait then suspends every coroutine
 * from there out to the task: the resume below sees that the inner one did not yield a value but
 * waits, yields outwards in turn, and resumes the inner one when the wait is over. */
#include "errors.h"
#include "task_internal.h"

#include <lauxlib.h>

static lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co, 1, "coroutine");
  return co;
}

/* Busy: waiting inside a task, so nobody else may resume or close it. */
static void set_busy(lua_State *L, lua_State *co, bool busy) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, mp_runtime_of(L)->busy_ref);
  if (busy) {
    lua_pushthread(co);
    lua_xmove(co, L, 1);
  } else {
    lua_pushnil(L);
  }
  lua_rawsetp(L, -2, co);
  lua_pop(L, 1);
}

static bool is_busy(lua_State *L, lua_State *co) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, mp_runtime_of(L)->busy_ref);
  bool busy = lua_rawgetp(L, -1, co) != LUA_TNIL;
  lua_pop(L, 2);
  return busy;
}

static const char *status_of(lua_State *L, lua_State *co) {
  if (L == co)
    return "running";
  switch (lua_status(co)) {
  case LUA_YIELD:
    return is_busy(L, co) ? "normal" : "suspended";
  case LUA_OK: {
    lua_Debug ar;
    if (lua_getstack(co, 0, &ar))
      return "normal";
    return lua_gettop(co) == 0 ? "dead" : "suspended";
  }
  default:
    return "dead";
  }
}

/* Moves what the inner coroutine yielded, returned or raised to L.
 * Returns the number of values, or -1 with the error on top. */
static int collect(lua_State *L, lua_State *co, int status, int count) {
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return -1;
  }
  if (!lua_checkstack(L, count + 1)) {
    lua_pop(co, count);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, count);
  return count;
}

/* Resumes `co` with `nargs` values of its own stack. Yields outwards while it waits, continuing in
 * `k`, which is to call resume_inner again. Returns as collect. */
static int resume_inner(lua_State *L, lua_State *co, int nargs, lua_KFunction k) {
  mp_runtime *rt = mp_runtime_of(L);
  int count;
  rt->running = co;
  int status = lua_resume(co, L, nargs, &count);
  rt->running = L;
  if (status == LUA_YIELD && mp_task_is_waiting(rt->current)) {
    set_busy(L, co, true);
    lua_yieldk(L, 0, (lua_KContext)co, k);
  }
  return collect(L, co, status, count);
}

static void start(lua_State *L, lua_State *co, int nargs) {
  const char *status = status_of(L, co);
  if (lua_status(co) != LUA_YIELD || is_busy(L, co)) {
    lua_Debug ar;
    bool fresh = lua_status(co) == LUA_OK && !lua_getstack(co, 0, &ar) && lua_gettop(co) > 0;
    if (!fresh || L == co) {
      lua_pushfstring(L, "cannot resume %s coroutine", *status == 'd' ? "dead" : "non-suspended");
      return;
    }
  }
  if (!lua_checkstack(co, nargs)) {
    lua_pushliteral(L, "too many arguments to resume");
    return;
  }
  lua_xmove(L, co, nargs);
  lua_pushnil(L);
}

/* resume */

static int resume_results(lua_State *L, int count) {
  if (count < 0) {
    mp_task_rethrow_cancel(L);
    lua_pushboolean(L, false);
    lua_insert(L, -2);
    return 2;
  }
  lua_pushboolean(L, true);
  lua_insert(L, -count - 1);
  return count + 1;
}

static int resume_continued(lua_State *L, int status, lua_KContext context) {
  (void)status;
  lua_State *co = (lua_State *)context;
  set_busy(L, co, false);
  return resume_results(L, resume_inner(L, co, 0, resume_continued));
}

static int l_resume(lua_State *L) {
  lua_State *co = check_coroutine(L);
  int nargs = lua_gettop(L) - 1;
  start(L, co, nargs);
  if (!lua_isnil(L, -1))
    return resume_results(L, -1);
  lua_pop(L, 1);
  return resume_results(L, resume_inner(L, co, nargs, resume_continued));
}

/* wrap */

static int wrap_results(lua_State *L, lua_State *co, int count) {
  if (count >= 0)
    return count;
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(L, co, 1);
    lua_resetthread(co); /* runs its pending __close */
    lua_xmove(co, L, 1);
  }
  if (lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int wrap_continued(lua_State *L, int status, lua_KContext context) {
  (void)status;
  lua_State *co = (lua_State *)context;
  set_busy(L, co, false);
  return wrap_results(L, co, resume_inner(L, co, 0, wrap_continued));
}

static int wrap_call(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int nargs = lua_gettop(L);
  start(L, co, nargs);
  if (!lua_isnil(L, -1))
    return wrap_results(L, L, -1);
  lua_pop(L, 1);
  return wrap_results(L, co, resume_inner(L, co, nargs, wrap_continued));
}

static int l_wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, wrap_call, 1);
  return 1;
}

/* The others, where a task's own coroutine is to look like the main program. */

static bool is_task_level(lua_State *L) {
  mp_task *task = mp_task_current(L);
  return task == NULL || task->co == L;
}

static int l_yield(lua_State *L) {
  if (is_task_level(L))
    return luaL_error(L, "attempt to yield from outside a coroutine");
  return lua_yield(L, lua_gettop(L));
}

static int l_isyieldable(lua_State *L) {
  lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
  lua_pushboolean(L, lua_isyieldable(co) && !is_task_level(co));
  return 1;
}

static int l_running(lua_State *L) {
  lua_pushthread(L);
  lua_pushboolean(L, is_task_level(L));
  return 2;
}

static int l_status(lua_State *L) {
  lua_pushstring(L, status_of(L, check_coroutine(L)));
  return 1;
}

static int l_close(lua_State *L) {
  lua_State *co = check_coroutine(L);
  const char *status = status_of(L, co);
  if (*status != 's' && *status != 'd')
    return luaL_error(L, "cannot close a %s coroutine", status);
  if (lua_resetthread(co) == LUA_OK) {
    lua_pushboolean(L, true);
    return 1;
  }
  lua_pushboolean(L, false);
  lua_xmove(co, L, 1);
  return 2;
}

void mp_install_coroutine(lua_State *L) {
  static const luaL_Reg functions[] = {{"resume", l_resume},   {"wrap", l_wrap},
                                       {"yield", l_yield},     {"isyieldable", l_isyieldable},
                                       {"running", l_running}, {"status", l_status},
                                       {"close", l_close},     {NULL, NULL}};
  lua_getglobal(L, "coroutine"); /* keeps `create` */
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
}
