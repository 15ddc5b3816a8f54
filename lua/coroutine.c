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

/* Notes who resumed `co`, for as long as `co` runs or waits. */
static void set_resumer(lua_State *L, lua_State *co, lua_State *resumer) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, mp_runtime_of(L)->resumers_ref);
  if (resumer)
    lua_pushlightuserdata(L, resumer);
  else
    lua_pushnil(L);
  lua_rawsetp(L, -2, co);
  lua_pop(L, 1);
}

lua_State *mp_coroutine_resumer(lua_State *L, lua_State *co) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, mp_runtime_of(L)->resumers_ref);
  lua_rawgetp(L, -1, co);
  lua_State *resumer = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return resumer;
}

/* Held: it runs or waits inside a task, or is a task itself; nobody else may resume or close it. */
static bool is_held(lua_State *L, lua_State *co) {
  return mp_coroutine_resumer(L, co) != NULL || mp_task_owns(L, co);
}

/* Not begun yet: its function and first arguments are on its stack. */
static bool is_fresh(lua_State *co) {
  lua_Debug ar;
  return lua_status(co) == LUA_OK && !lua_getstack(co, 0, &ar) && lua_gettop(co) > 0;
}

static const char *status_of(lua_State *L, lua_State *co) {
  lua_Debug ar;
  if (L == co)
    return "running";
  if (is_held(L, co))
    return "normal";
  if (lua_status(co) == LUA_YIELD || is_fresh(co))
    return "suspended";
  return lua_status(co) == LUA_OK && lua_getstack(co, 0, &ar) ? "normal" : "dead";
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
  set_resumer(L, co, L);
  rt->running = co;
  int status = lua_resume(co, L, nargs, &count);
  rt->running = L;
  if (status == LUA_YIELD && mp_task_is_waiting(rt->current))
    lua_yieldk(L, 0, (lua_KContext)co, k);
  set_resumer(L, co, NULL);
  return collect(L, co, status, count);
}

/* Moves the arguments to `co`. Returns what lua_resume is to be told of, or -1 with a message
 * pushed when it cannot be resumed. */
static int start(lua_State *L, lua_State *co, int nargs) {
  const char *status = status_of(L, co);
  if (*status != 's') {
    lua_pushfstring(L, "cannot resume %s coroutine", *status == 'd' ? "dead" : "non-suspended");
    return -1;
  }
  if (!lua_checkstack(co, nargs)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  int function = lua_status(co) == LUA_YIELD ? 0 : 1; /* mp_coroutine_body takes it */
  lua_xmove(L, co, nargs);
  return nargs + function;
}

/* create */

/* A coroutine's function runs under a protected call, as a task's does: else a __close handler in
 * it could not wait while an error, such as the task's cancel, passes through. */

/* stack: function, results | error */
static int body_ended(lua_State *L, int status, lua_KContext context) {
  (void)context;
  return status == LUA_OK || status == LUA_YIELD ? lua_gettop(L) - 1 : lua_error(L);
}

int mp_coroutine_body(lua_State *L) {
  lua_pushvalue(L, 1);
  lua_insert(L, 1);
  return body_ended(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, body_ended), 0);
}

/* Pushes a coroutine for the function at index 1. */
static lua_State *push_coroutine(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushcfunction(co, mp_coroutine_body);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  return co;
}

static int l_create(lua_State *L) {
  push_coroutine(L);
  return 1;
}

/* resume */

/* stack: coroutine, whether the task was being unwound, results | error */
static int resume_results(lua_State *L, int count) {
  if (count < 0)
    mp_task_rethrow_cancel(L, lua_toboolean(L, 2));
  lua_pushboolean(L, count >= 0);
  lua_insert(L, count < 0 ? -2 : -count - 1);
  return count < 0 ? 2 : count + 1;
}

static int resume_continued(lua_State *L, int status, lua_KContext context) {
  (void)status;
  return resume_results(L, resume_inner(L, (lua_State *)context, 0, resume_continued));
}

static int l_resume(lua_State *L) {
  lua_State *co = check_coroutine(L);
  int nargs = start(L, co, lua_gettop(L) - 1);
  if (nargs < 0) {
    lua_pushboolean(L, false);
    lua_insert(L, -2);
    return 2;
  }
  lua_pushboolean(L, mp_task_is_unwinding(L));
  return resume_results(L, resume_inner(L, co, nargs, resume_continued));
}

/* wrap */

/* Runs the pending __close of a coroutine that has failed or is not resumed any more. */
static int reset(lua_State *L, lua_State *co) {
  mp_runtime *rt = mp_runtime_of(L);
  rt->running = co;
  int status = lua_resetthread(co);
  rt->running = L;
  return status;
}

static int wrap_results(lua_State *L, lua_State *co, int count) {
  if (count >= 0)
    return count;
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(L, co, 1);
    reset(L, co);
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
  return wrap_results(L, co, resume_inner(L, co, 0, wrap_continued));
}

static int wrap_call(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int nargs = start(L, co, lua_gettop(L));
  if (nargs < 0)
    return wrap_results(L, L, -1);
  return wrap_results(L, co, resume_inner(L, co, nargs, wrap_continued));
}

static int l_wrap(lua_State *L) {
  push_coroutine(L);
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
  if (reset(L, co) == LUA_OK) {
    lua_pushboolean(L, true);
    return 1;
  }
  lua_pushboolean(L, false);
  lua_xmove(co, L, 1);
  return 2;
}

void mp_install_coroutine(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"create", l_create}, {"resume", l_resume},   {"wrap", l_wrap},
      {"yield", l_yield},   {"status", l_status},   {"isyieldable", l_isyieldable},
      {"close", l_close},   {"running", l_running}, {NULL, NULL}};
  lua_getglobal(L, "coroutine");
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
}
