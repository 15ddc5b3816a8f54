#include "session.h"

#include "errors.h"
#include "task_internal.h"

#include <lauxlib.h>

/* Registry key of the function that is told of failed background tasks. */
static const char on_failed_key;

static void orphan_failed(mp_runtime *rt, lua_State *L) {
  (void)rt;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &on_failed_key);
  lua_pushvalue(L, -2);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    lua_pop(L, 1);
}

static mp_task *check_session(lua_State *L) {
  mp_task *session = mp_runtime_of(L)->session;
  if (session == NULL)
    mp_raise(L, "session", "none", NULL, "there is no session");
  return session;
}

/* begin(on_failed): makes the running task the session. on_failed(error) is called outside of any
 * task when a background task has failed. */
static int l_begin(lua_State *L) {
  mp_runtime *rt = mp_runtime_of(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  if (rt->session || rt->current == NULL)
    return mp_raise(L, "session", "busy", NULL, "there is a session already");
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &on_failed_key);
  rt->session = rt->current;
  rt->session->session = true;
  rt->on_orphan_failed = orphan_failed;
  rt->keep_on_interrupt = true;
  rt->foreground = NULL;
  return 0;
}

/* finish(): the running task is an ordinary one again */
static int l_finish(lua_State *L) {
  mp_task *session = check_session(L);
  mp_runtime *rt = session->rt;
  session->session = false;
  rt->session = NULL;
  rt->on_orphan_failed = NULL;
  rt->on_interrupt = NULL;
  rt->keep_on_interrupt = false;
  rt->foreground = session;
  return 0;
}

/* line(fn, ...): a task for a line, which Ctrl-C cancels until it has ended */
static int l_line(lua_State *L) {
  mp_task *session = check_session(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  mp_task *task = mp_task_spawn(L, session, lua_gettop(L) - 1);
  task->contained = true;
  task->line = true;
  session->rt->interrupts = 0;
  session->rt->foreground = task;
  return 1;
}

/* tasks(): the handles of the background tasks, in the order in which they were started */
static int l_tasks(lua_State *L) {
  mp_task *session = check_session(L);
  lua_Integer count = 0;
  for (mp_task *child = session->first_child; child; child = child->next_sibling)
    count += !child->line;
  lua_createtable(L, (int)count, 0);
  for (mp_task *child = session->first_child; child; child = child->next_sibling) {
    if (child->line)
      continue;
    mp_task_push(L, child);
    lua_rawseti(L, -2, count--);
  }
  return 1;
}

int luaopen_moonport_session(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"begin", l_begin}, {"finish", l_finish}, {"line", l_line}, {"tasks", l_tasks}, {NULL, NULL}};
  luaL_newlib(L, functions);
  lua_pushliteral(L, MP_SESSION_CHUNK);
  lua_setfield(L, -2, "CHUNK");
  return 1;
}
