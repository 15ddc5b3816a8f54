/* The module `moonport.core.task`: what scripts see of the scheduler. stdlib/moonport/task.lua
 * builds task.all, task.race, task.timeout and the like on it. */
#include "task.h"

#include "class.h"
#include "errors.h"
#include "gate.h"
#include "session.h"
#include "task_internal.h"

#include <math.h>
#include <string.h>

static mp_task *check_task(lua_State *L, int index) {
  return luaL_checkudata(L, index, MP_TASK_METATABLE);
}

static bool is_of_stdlib(const lua_Debug *ar) {
  return strncmp(ar->source, "@moonport/", 10) == 0;
}

/* True when the caller of task.spawn (which is level 1) is a line at the prompt and not a function
 * of a module, whose tasks end with it. by_stdlib: also where the line called a function of the
 * stdlib that gives it something which lives on. */
static bool called_at_prompt(lua_State *L, bool by_stdlib) {
  lua_Debug ar;
  for (int level = by_stdlib ? 1 : 2; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "S", &ar);
    if (*ar.what != 'C' && !(by_stdlib && is_of_stdlib(&ar)))
      return strcmp(ar.source, MP_SESSION_CHUNK) == 0; /* pcall(task.spawn, fn) is its own too */
  }
  return true;
}

/* spawn(options, fn, ...): options is a string of letters. c: contained, s: shielded, g: gate shut,
 * b: where the caller's caller is a line at the prompt, its session is the parent; p: also where
 * functions of the stdlib are in between. */
static int l_spawn(lua_State *L) {
  const char *options = luaL_checkstring(L, 1);
  if (!lua_isfunction(L, 2)) {
    if (!luaL_getmetafield(L, 2, "__call"))
      return mp_bad_argument(L, "task.spawn wants a function, got a %s", luaL_typename(L, 2));
    lua_pop(L, 1);
  }
  mp_task *parent = mp_task_current(L);
  bool shielded = false, contained = false, gate_shut = mp_gate_is_shut(L);
  for (; *options; options++) {
    contained |= *options == 'c';
    shielded |= *options == 's';
    gate_shut |= *options == 'g';
    bool by_stdlib = *options == 'p';
    if ((*options == 'b' || by_stdlib) && parent && parent->line && called_at_prompt(L, by_stdlib))
      parent = parent->parent;
  }
  mp_task *task = mp_task_spawn(L, parent, lua_gettop(L) - 2);
  task->contained = contained;
  task->shielded = shielded;
  task->gate_shut = gate_shut;
  return 1;
}

static int l_cancel(lua_State *L) {
  mp_task *task = check_task(L, 1);
  luaL_optstring(L, 2, NULL);
  lua_settop(L, 2);
  mp_task_cancel(L, task);
  return 0;
}

/* Await. */

typedef struct {
  mp_wait wait;
  mp_task *target; /* kept alive by the handle on the stack */
} await_wait;

static void await_cancel(mp_wait *wait) {
  await_wait *self = (await_wait *)wait;
  mp_wait **link = &self->target->awaiters;
  while (*link && *link != wait)
    link = &(*link)->next;
  if (*link)
    *link = wait->next;
  mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static int push_outcome(lua_State *L, mp_task *target, int handle) {
  lua_getiuservalue(L, handle, TASK_UV_RESULT);
  if (target->failed)
    return lua_error(L);
  int results = lua_gettop(L);
  lua_getfield(L, results, "n");
  int count = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, count, "too many results");
  for (int i = 1; i <= count; i++)
    lua_rawgeti(L, results, i);
  return count;
}

static int await_finish(lua_State *L, mp_wait *wait) {
  return push_outcome(L, ((await_wait *)wait)->target, 1);
}

/* A task ends after its children: one of them that awaited it would wait for ever. */
static void check_can_end(lua_State *L, const mp_task *target) {
  const mp_task *task = mp_task_current(L);
  if (task == target)
    mp_bad_argument(L, "a task cannot await itself");
  for (; task; task = task->parent) {
    if (task == target)
      mp_bad_argument(L, "a task cannot await one that it is part of: that one ends after it");
  }
}

/* await(task, unbreakable) */
static int l_await(lua_State *L) {
  mp_task *target = check_task(L, 1);
  if (target->state == TASK_DONE)
    return push_outcome(L, target, 1);
  check_can_end(L, target);
  bool unbreakable = lua_toboolean(L, 2);
  await_wait *self = mp_wait_new(L, sizeof *self, "await", await_finish);
  self->target = target;
  self->wait.cancel = await_cancel;
  self->wait.unbreakable = unbreakable;
  self->wait.next = target->awaiters;
  target->awaiters = &self->wait;
  return mp_wait_yield(L, &self->wait);
}

static int l_status(lua_State *L) {
  mp_task *task = check_task(L, 1);
  const char *status = "running";
  if (task->state == TASK_DONE)
    status = !task->failed ? "done" : task->cancelled ? "cancelled" : "failed";
  else if (task->state == TASK_WAITING)
    status = "waiting";
  lua_pushstring(L, status);
  return 1;
}

static int l_traceback(lua_State *L) {
  check_task(L, 1);
  lua_getiuservalue(L, 1, TASK_UV_TRACEBACK);
  return 1;
}

static int l_is_cancelled(lua_State *L) {
  mp_task *task = lua_isnoneornil(L, 1) ? mp_task_current(L) : check_task(L, 1);
  lua_pushboolean(L, task && task->cancelled);
  return 1;
}

static int l_tostring(lua_State *L) {
  mp_task *task = check_task(L, 1);
  l_status(L);
  lua_pushfstring(L, "task %p (%s)", (void *)task, lua_tostring(L, -1));
  return 1;
}

static int l_current(lua_State *L) {
  mp_task *task = mp_task_current(L);
  if (task)
    mp_task_push(L, task);
  else
    lua_pushnil(L);
  return 1;
}

/* Sleep. */

static void sleep_over(void *data, bool cancelled) {
  mp_wait *wait = data;
  if (cancelled)
    mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static int finish_without_results(lua_State *L, mp_wait *wait) {
  (void)L;
  (void)wait;
  return 0;
}

static int l_sleep(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  if (!(seconds >= 0) || seconds > 1e9)
    return mp_bad_argument(L, "task.sleep wants seconds from 0 to 1e9, got %g", seconds);
  mp_wait *wait = mp_wait_new(L, sizeof *wait, "task.sleep", finish_without_results);
  wait->op = mp_timer_start(mp_loop_of(L), (uint64_t)ceil(seconds * 1000), sleep_over, wait);
  return mp_wait_yield(L, wait);
}

/* Events: what one task sets and others wait for. */

#define EVENT_METATABLE "moonport.event"

typedef struct {
  bool set;
  mp_wait *waiters;
} event;

typedef struct {
  mp_wait wait;
  event *event; /* kept alive by the handle on the stack */
} event_wait;

static int l_event(lua_State *L) {
  event *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (event){0};
  luaL_setmetatable(L, EVENT_METATABLE);
  return 1;
}

static int event_is_set(lua_State *L) {
  event *self = luaL_checkudata(L, 1, EVENT_METATABLE);
  lua_pushboolean(L, self->set);
  return 1;
}

static void event_wake_all(event *self) {
  while (self->waiters) {
    mp_wait *wait = self->waiters;
    self->waiters = wait->next;
    mp_wait_done(wait);
  }
}

static int event_set(lua_State *L) {
  event *self = luaL_checkudata(L, 1, EVENT_METATABLE);
  self->set = true;
  event_wake_all(self);
  return 0;
}

static int event_clear(lua_State *L) {
  event *self = luaL_checkudata(L, 1, EVENT_METATABLE);
  self->set = false;
  return 0;
}

static void event_cancel(mp_wait *wait) {
  mp_wait **link = &((event_wait *)wait)->event->waiters;
  while (*link && *link != wait)
    link = &(*link)->next;
  if (*link)
    *link = wait->next;
  mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static int event_wait_(lua_State *L) {
  event *self = luaL_checkudata(L, 1, EVENT_METATABLE);
  event_wait *wait = mp_wait_new(L, sizeof *wait, "event:wait", finish_without_results);
  if (self->set)
    return 0;
  wait->event = self;
  wait->wait.cancel = event_cancel;
  wait->wait.next = self->waiters;
  self->waiters = &wait->wait;
  return mp_wait_yield(L, &wait->wait);
}

/* close_timeout([seconds]) gives and sets the time that __close handlers have after a cancel. */
static int l_close_timeout(lua_State *L) {
  mp_runtime *rt = mp_runtime_of(L);
  lua_pushnumber(L, rt->close_timeout);
  if (lua_isnoneornil(L, 1))
    return 1;
  lua_Number seconds = luaL_checknumber(L, 1);
  if (!(seconds >= 0) || seconds > 1e9)
    return mp_bad_argument(L, "task.close_timeout wants seconds from 0 to 1e9, got %g", seconds);
  rt->close_timeout = seconds;
  return 1;
}

int luaopen_moonport_task(lua_State *L) {
  static const luaL_Reg task_methods[] = {{"await", l_await},         {"cancel", l_cancel},
                                          {"status", l_status},       {"traceback", l_traceback},
                                          {"__tostring", l_tostring}, {NULL, NULL}};
  static const luaL_Reg event_methods[] = {{"set", event_set},
                                           {"clear", event_clear},
                                           {"wait", event_wait_},
                                           {"is_set", event_is_set},
                                           {NULL, NULL}};
  static const luaL_Reg functions[] = {{"spawn", l_spawn},
                                       {"sleep", l_sleep},
                                       {"event", l_event},
                                       {"current", l_current},
                                       {"cancelled", l_is_cancelled},
                                       {"close_timeout", l_close_timeout},
                                       {NULL, NULL}};
  mp_class(L, MP_TASK_METATABLE, task_methods);
  mp_class(L, EVENT_METATABLE, event_methods);
  luaL_newlib(L, functions);
  return 1;
}
