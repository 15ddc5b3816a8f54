#include "runtime.h"

#include "core/mem.h"
#include "core/scrub.h"
#include "errors.h"
#include "gate.h"
#include "loader.h"
#include "output.h"
#include "state.h"
#include "task_internal.h"

#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define CLOSE_TIMEOUT_SECONDS 30

/* Until the heap has grown by this much, nothing is collected: loading modules makes little
 * garbage, and marking them over and over while they come in took longer than compiling them. */
#define UNCOLLECTED_KIB (4 * 1024)

mp_runtime *mp_runtime_of(lua_State *L) {
  return *(mp_runtime **)lua_getextraspace(L);
}

static int new_table_ref(lua_State *L) {
  lua_newtable(L);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* A finalizer is called between two steps of some task, and what it raises is swallowed. */
static bool in_finalizer(lua_State *L) {
  lua_Debug ar;
  for (int level = 0; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "n", &ar);
    if (ar.name && strcmp(ar.name, "__gc") == 0 && strcmp(ar.namewhat, "metamethod") == 0)
      return true;
  }
  return false;
}

/* os.exit ends the program through its first task, so that __close handlers run. */
static int l_exit(lua_State *L) {
  mp_runtime *rt = mp_runtime_of(L);
  rt->exit_code = lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
  rt->exit_requested = true;
  mp_task *root = rt->current;
  if (root == NULL)
    exit(rt->exit_code);
  while (root->parent)
    root = root->parent;
  lua_pushliteral(L, "os.exit was called");
  mp_task_cancel(L, root);
  if (!rt->current->cancelled || in_finalizer(L)) /* behind a shield: the end comes after it */
    return 0;
  rt->current->delivered = true;
  mp_task_push_slot(L, rt->current, TASK_UV_CANCEL);
  return lua_error(L);
}

/* The globals that scripts, recipes and hooks have besides Lua's own, each loaded on first use. */
static int given_global(lua_State *L) {
  static const char *const names[] = {"mp", "task", "secret", "recipe", "log", NULL};
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  for (int i = 0; names[i]; i++) {
    if (strcmp(name, names[i]) != 0)
      continue;
    lua_getglobal(L, "require");
    lua_pushfstring(L, i == 0 ? "moonport" : "moonport.%s", name);
    lua_call(L, 1, 1);
    lua_pushvalue(L, -1);
    lua_setglobal(L, name);
    return 1;
  }
  return 0;
}

static void give_globals(lua_State *L) {
  lua_pushglobaltable(L);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, given_global);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

static int open_libraries(lua_State *L) {
  if (getauxval(AT_SECURE)) { /* LUA_PATH and LUA_CPATH come from someone with fewer rights */
    lua_pushboolean(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  }
  luaL_openlibs(L);
  mp_install_loader(L);
  mp_install_protect(L);
  mp_install_coroutine(L);
  mp_gate_stock_libraries(L);
  mp_install_print(L);
  give_globals(L);
  luaL_requiref(L, "moonport.errors", luaopen_moonport_errors, 0);
  luaL_requiref(L, "moonport.core.task", luaopen_moonport_task, 0);
  lua_getglobal(L, "os");
  lua_pushcfunction(L, l_exit);
  lua_setfield(L, -2, "exit");
  return 0;
}

/* Ctrl-C. */

#define HOG_INSTRUCTIONS 10000000 /* about a tenth of a second */

/* What the signal ends: for Ctrl-C the foreground, for the others a whole session too. */
static mp_task *interrupt_target(const mp_runtime *rt) {
  return rt->session && rt->signal != SIGINT ? rt->session : rt->foreground;
}

static void cancel_target(mp_runtime *rt, lua_State *L) {
  mp_task *target = interrupt_target(rt);
  if (target == NULL)
    return;
  lua_pushliteral(L, "interrupted");
  mp_task_cancel(L, target);
}

/* In a session, a task beside the foreground is running. It ends only if it does not come back to
 * the loop by itself. */
static bool is_hog(mp_runtime *rt, lua_State *L, lua_Hook hook) {
  if (rt->session == NULL || rt->current == rt->session)
    return false;
  if (rt->hogging)
    return true;
  rt->hogging = true;
  lua_sethook(L, hook, LUA_MASKCOUNT, HOG_INSTRUCTIONS);
  return false;
}

/* That was what the Ctrl-C was for. */
static void end_hog(mp_runtime *rt, lua_State *L, mp_task *task) {
  rt->interrupts = 0;
  lua_pushliteral(L, "interrupted");
  mp_task_cancel(L, task);
  if (rt->on_orphan_failed == NULL)
    return;
  lua_pushliteral(L, "it computed without a pause and was interrupted");
  rt->on_orphan_failed(rt, L);
  lua_pop(L, 1);
}

static void interrupted_in_script(lua_State *L, lua_Debug *ar) {
  (void)ar;
  mp_runtime *rt = mp_runtime_of(L);
  lua_sethook(L, NULL, 0, 0);
  mp_task *task = rt->current;
  if (rt->interrupts == 0 || task == NULL)
    return;
  cancel_target(rt, L);
  if (!task->cancelled) {
    if (!is_hog(rt, L, interrupted_in_script))
      return;
    end_hog(rt, L, task);
  } else if (task->delivered && rt->interrupts < 2) {
    return; /* its __close handlers have their time */
  }
  task->delivered = true;
  mp_task_push_slot(L, task, TASK_UV_CANCEL);
  lua_error(L);
}

/* No more waiting in __close handlers and shielded tasks. */
static void hurry(lua_State *L, mp_task *task) {
  for (mp_task *each = task; each; each = mp_task_next(task, each)) {
    lua_pushliteral(L, "interrupted again");
    mp_task_cancel(L, each);
    each->overdue = true;
    mp_task_interrupt(each);
  }
}

static void interrupted_on_loop(uv_async_t *wake) {
  mp_runtime *rt = wake->data;
  rt->hogging = false;
  if (rt->interrupts == 0)
    return;
  mp_task *target = interrupt_target(rt);
  cancel_target(rt, rt->L);
  if (target && rt->interrupts > 1)
    hurry(rt->L, target);
  if (target == NULL && rt->on_interrupt)
    rt->on_interrupt(rt);
}

void mp_runtime_interrupt(mp_runtime *rt) {
  rt->interrupts++;
  if (rt->running)
    lua_sethook(rt->running, interrupted_in_script,
                LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
  uv_async_send(&rt->wake);
}

/* Life. */

static mp_runtime *fail(mp_runtime *rt, mp_error *err, const char *what) {
  mp_error_set(err, "runtime", "start", "could not start Lua: %s", what);
  if (rt->L)
    lua_close(rt->L);
  free(rt);
  return NULL;
}

mp_runtime *mp_runtime_new(mp_error *err) {
  mp_runtime *rt = mp_alloc(sizeof *rt);
  rt->close_timeout = CLOSE_TIMEOUT_SECONDS;
  if (mp_loop_init(&rt->loop, err) < 0) {
    free(rt);
    return NULL;
  }
  uv_async_init(&rt->loop.uv, &rt->wake, interrupted_on_loop);
  rt->wake.data = rt;
  uv_unref((uv_handle_t *)&rt->wake);
  lua_State *L = rt->L = rt->running = mp_state_new(&rt->heap);
  if (L == NULL)
    return fail(rt, err, "out of memory");
  *(mp_runtime **)lua_getextraspace(L) = rt;
  rt->tasks_ref = new_table_ref(L);
  rt->resumers_ref = new_table_ref(L);
  lua_pushcfunction(L, open_libraries);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK)
    return fail(rt, err, lua_tostring(L, -1));
  lua_gc(L, LUA_GCSTEP, -UNCOLLECTED_KIB); /* a debt paid in advance */
  return rt;
}

/* One turn. Returns false when nothing is left that could make a task ready. */
static bool turn(mp_runtime *rt) {
  bool ran = mp_task_run_ready(rt);
  bool busy = rt->ready_first != NULL;
  rt->in_loop = true;
  int alive = uv_run(&rt->loop.uv, ran || busy ? UV_RUN_NOWAIT : UV_RUN_ONCE);
  rt->in_loop = false;
  return ran || busy || alive || rt->ready_first;
}

static void cancel_all(mp_runtime *rt) {
  lua_State *L = rt->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->tasks_ref);
  for (lua_pushnil(L); lua_next(L, -2);) {
    mp_task *task = lua_touserdata(L, -1);
    lua_pop(L, 1);
    lua_pushliteral(L, "the program ends");
    mp_task_cancel(L, task);
  }
  lua_pop(L, 1);
}

static bool has_tasks(mp_runtime *rt) {
  lua_State *L = rt->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->tasks_ref);
  lua_pushnil(L);
  bool some = lua_next(L, -2) != 0;
  lua_settop(L, some ? -4 : -2);
  return some;
}

void mp_runtime_finish(mp_runtime *rt) {
  cancel_all(rt);
  while (has_tasks(rt) && turn(rt))
    ;
}

void mp_runtime_free(mp_runtime *rt) {
  mp_runtime_finish(rt);
  rt->running = NULL;
  /* Finalizers run; giving back each table and string by itself would take as long as they all took
   * to make. */
  rt->heap.leaving = true;
  lua_close(rt->L);
  uv_close((uv_handle_t *)&rt->wake, NULL);
  mp_loop_close(&rt->loop);
  mp_scrub_reset();
  free(rt);
}

/* Calling. */

static void run_until_done(mp_runtime *rt, mp_task *task) {
  bool stuck = false;
  while (task->state != TASK_DONE) {
    if (turn(rt))
      continue;
    if (stuck)
      break;
    stuck = true;
    lua_pushliteral(rt->L, "nothing is left that could end this wait");
    mp_task_cancel(rt->L, task);
  }
}

/* stack: the task. Leaves results, or error and traceback. */
static int take_outcome(lua_State *L, mp_task *task) {
  int handle = lua_gettop(L);
  if (task->failed) {
    lua_getiuservalue(L, handle, TASK_UV_RESULT);
    lua_getiuservalue(L, handle, TASK_UV_TRACEBACK);
    lua_remove(L, handle);
    return LUA_ERRRUN;
  }
  lua_getiuservalue(L, handle, TASK_UV_RESULT);
  lua_getfield(L, -1, "n");
  int count = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (!lua_checkstack(L, count + 1)) {
    lua_settop(L, handle - 1);
    lua_pushliteral(L, "too many results");
    lua_pushnil(L);
    return LUA_ERRRUN;
  }
  for (int i = 1; i <= count; i++)
    lua_rawgeti(L, handle + 1, i);
  lua_remove(L, handle + 1);
  lua_remove(L, handle);
  return LUA_OK;
}

int mp_runtime_call(mp_runtime *rt, int nargs) {
  mp_task *before = rt->foreground;
  mp_task *task = mp_task_spawn(rt->L, NULL, nargs);
  rt->foreground = task;
  rt->interrupts = 0;
  run_until_done(rt, task);
  rt->foreground = before;
  return take_outcome(rt->L, task);
}

static int status_of_code(const char *code) {
  if (strcmp(code, "usage") == 0)
    return 2;
  if (strcmp(code, "not_found") == 0)
    return 3;
  if (strcmp(code, "refused") == 0)
    return 4;
  return 1;
}

int mp_exit_status(lua_State *L, int index) {
  mp_runtime *rt = mp_runtime_of(L);
  index = lua_absindex(L, index);
  int top = lua_gettop(L);
  if (rt->exit_requested)
    return rt->exit_code;
  int status = rt->interrupts > 0 ? 128 + rt->signal : 1;
  if (!mp_is_error(L, index))
    return status;
  if (lua_getfield(L, index, "exit") == LUA_TNUMBER)
    status = (int)lua_tointeger(L, -1);
  else if (rt->interrupts == 0 && lua_getfield(L, index, "code") == LUA_TSTRING)
    status = status_of_code(lua_tostring(L, -1));
  lua_settop(L, top);
  return status;
}
