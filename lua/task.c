#include "task.h"

#include "core/mem.h"
#include "errors.h"
#include "task_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

mp_task *mp_task_current(lua_State *L) {
  return mp_runtime_of(L)->current;
}

mp_loop *mp_loop_of(lua_State *L) {
  return &mp_runtime_of(L)->loop;
}

void mp_task_push(lua_State *L, mp_task *task) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, task->rt->tasks_ref);
  lua_rawgetp(L, -1, task->co);
  lua_remove(L, -2);
}

bool mp_task_owns(lua_State *L, lua_State *co) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, mp_runtime_of(L)->tasks_ref);
  bool owns = lua_rawgetp(L, -1, co) != LUA_TNIL;
  lua_pop(L, 2);
  return owns;
}

void mp_task_push_slot(lua_State *L, mp_task *task, int slot) {
  mp_task_push(L, task);
  lua_getiuservalue(L, -1, slot);
  lua_remove(L, -2);
}

void mp_task_set_slot(lua_State *L, mp_task *task, int slot) {
  mp_task_push(L, task);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, slot);
  lua_pop(L, 1);
}

/* The ready queue. */

static void make_ready(mp_task *task) {
  mp_runtime *rt = task->rt;
  task->state = TASK_READY;
  task->next_ready = NULL;
  if (rt->in_loop)
    uv_stop(&rt->loop.uv); /* else a task made ready by a timer would wait for the next event */
  if (rt->ready_last)
    rt->ready_last->next_ready = task;
  else
    rt->ready_first = task;
  rt->ready_last = task;
}

/* Making a task. */

static void adopt(mp_task *parent, mp_task *child) {
  child->parent = parent;
  child->next_sibling = parent->first_child;
  if (parent->first_child)
    parent->first_child->previous_sibling = child;
  parent->first_child = child;
}

static void leave_parent(mp_task *child) {
  if (child->previous_sibling)
    child->previous_sibling->next_sibling = child->next_sibling;
  else
    child->parent->first_child = child->next_sibling;
  if (child->next_sibling)
    child->next_sibling->previous_sibling = child->previous_sibling;
  child->next_sibling = child->previous_sibling = NULL;
}

mp_task *mp_task_spawn(lua_State *L, mp_task *parent, int nargs) {
  mp_runtime *rt = mp_runtime_of(L);
  mp_task *task = lua_newuserdatauv(L, sizeof *task, TASK_UV_LAST);
  *task = (mp_task){.rt = rt, .nargs = nargs + 1};
  luaL_setmetatable(L, MP_TASK_METATABLE);
  task->co = lua_newthread(L);
  lua_setiuservalue(L, -2, TASK_UV_THREAD);
  if (!lua_checkstack(task->co, nargs + 2))
    luaL_error(L, "too many arguments");
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->tasks_ref);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, task->co);
  lua_pop(L, 1);
  lua_insert(L, -nargs - 2); /* the task goes below function and arguments */
  lua_pushcfunction(task->co, mp_task_body);
  lua_xmove(L, task->co, nargs + 1);
  if (parent) {
    task->gate_shut = parent->gate_shut;
    adopt(parent, task);
  }
  make_ready(task);
  return task;
}

/* The body: the task's function under a protected call, since in Lua 5.4 an uncaught error runs a
 * __close handler that yields only so. */

static int body_traceback(lua_State *L) {
  mp_task *task = mp_task_current(L);
  mp_push_traceback(L, L, NULL, 1);
  mp_task_set_slot(L, task, TASK_UV_TRACEBACK);
  lua_settop(L, 1);
  return 1;
}

/* stack: function, handler, results | error */
static int body_ended(lua_State *L, int status, lua_KContext context) {
  (void)context;
  mp_task *task = mp_task_current(L);
  task->failed = status != LUA_OK && status != LUA_YIELD;
  if (!task->failed) {
    int count = lua_gettop(L) - 2;
    lua_createtable(L, count, 1);
    lua_insert(L, 3);
    for (int i = count; i >= 1; i--)
      lua_rawseti(L, 3, i);
    lua_pushinteger(L, count);
    lua_setfield(L, 3, "n");
  }
  mp_task_set_slot(L, task, TASK_UV_RESULT);
  return 0;
}

int mp_task_body(lua_State *L) {
  int nargs = lua_gettop(L) - 1;
  lua_pushvalue(L, 1);
  lua_insert(L, 1);
  lua_pushcfunction(L, body_traceback);
  lua_insert(L, 2);
  return body_ended(L, lua_pcallk(L, nargs, LUA_MULTRET, 2, 0, body_ended), 0);
}

/* Cancelling. */

struct close_timer {
  mp_op *op;
  mp_task *task; /* NULL once the task has ended */
};

static void close_time_over(void *data, bool cancelled) {
  close_timer *timer = data;
  if (timer->task && !cancelled) {
    timer->task->overdue = true;
    mp_task_interrupt(timer->task);
  }
  if (timer->task)
    timer->task->closing = NULL;
  free(timer);
}

static void start_close_timer(mp_task *task) {
  close_timer *timer = mp_alloc(sizeof *timer);
  timer->task = task;
  timer->op = mp_timer_start(&task->rt->loop, (uint64_t)(task->rt->close_timeout * 1000),
                             close_time_over, timer);
  task->closing = timer;
}

static void stop_close_timer(mp_task *task) {
  if (task->closing == NULL)
    return;
  task->closing->task = NULL;
  mp_op_cancel(task->closing->op);
  task->closing = NULL;
}

static void push_cancel_error(lua_State *L, const char *reason) {
  mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, "task", MP_CANCELLED, "%s", reason ? reason : "cancelled");
  mp_push_error(L, &err);
}

mp_task *mp_task_next(const mp_task *root, mp_task *task) {
  if (task->first_child)
    return task->first_child;
  for (; task != root; task = task->parent) {
    if (task->next_sibling)
      return task->next_sibling;
  }
  return NULL;
}

/* The first of these siblings that a cancel of their parent reaches. */
static mp_task *cancellable(mp_task *task) {
  while (task && (task->shielded || task->cancelled))
    task = task->next_sibling;
  return task;
}

static mp_task *deepest(mp_task *task) {
  for (mp_task *child = task; child; child = cancellable(child->first_child))
    task = child;
  return task;
}

/* The reason is on top of L, and stays. */
static void cancel_one(lua_State *L, mp_task *task) {
  task->cancelled = true;
  push_cancel_error(L, lua_tostring(L, -1));
  mp_task_set_slot(L, task, TASK_UV_CANCEL);
  start_close_timer(task);
  mp_task_interrupt(task);
}

/* Children first. A loop, since tasks may be nested deeper than the C stack is. */
void mp_task_cancel(lua_State *L, mp_task *task) {
  if (task->state != TASK_DONE && !task->cancelled) {
    for (mp_task *each = deepest(task); each != task;) {
      cancel_one(L, each);
      mp_task *sibling = cancellable(each->next_sibling);
      each = sibling ? deepest(sibling) : each->parent;
    }
    cancel_one(L, task);
  }
  lua_pop(L, 1);
}

/* A cancel is due and has not been raised yet, or its time for cleaning up is over. */
static bool interruption_is_due(lua_State *L, mp_task *task) {
  if (task->overdue)
    return true;
  if (!task->child_failed && (!task->cancelled || task->delivered))
    return false;
  return !mp_task_in_close(L, task);
}

void mp_task_interrupt(mp_task *task) {
  mp_wait *wait = task->wait;
  if (task->state != TASK_WAITING || wait->done || wait->unbreakable)
    return;
  if (!interruption_is_due(wait->L, task))
    return;
  if (wait->cancel)
    wait->cancel(wait);
  else if (wait->op)
    mp_op_cancel(wait->op);
}

/* Raises what is due in `task`, the running one. */
static int raise_interruption(lua_State *L, mp_task *task) {
  if (task->cancelled) {
    task->delivered = true;
    mp_task_push_slot(L, task, TASK_UV_CANCEL);
  } else {
    task->child_failed = false;
    mp_task_push_slot(L, task, TASK_UV_CHILD_ERROR);
  }
  return lua_error(L);
}

bool mp_task_is_unwinding(lua_State *L) {
  mp_task *task = mp_task_current(L);
  return task && task->delivered;
}

void mp_task_rethrow_cancel(lua_State *L, bool was_unwinding) {
  mp_task *task = mp_task_current(L);
  if (task == NULL || !task->cancelled)
    return;
  if (task->delivered && !was_unwinding)
    lua_error(L);
  mp_task_push_slot(L, task, TASK_UV_CANCEL);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 1);
  if (same)
    lua_error(L);
}

/* A __close handler on the ordinary way out is called by a Lua function and has that name. After an
 * error it is called by the protected call, and is not the function that this one protects. */
static bool frame_is_close(lua_State *L, lua_Debug *ar, int level) {
  lua_Debug caller;
  lua_getinfo(L, "nt", ar);
  /* Whoever was tail-called stands where its caller was, which is what was protected. */
  if (ar->istailcall)
    return false;
  if (strcmp(ar->namewhat, "metamethod") == 0 && strcmp(ar->name, "close") == 0)
    return true;
  if (!lua_getstack(L, level + 1, &caller))
    return false;
  lua_getinfo(L, "f", &caller);
  lua_CFunction protector = lua_tocfunction(L, -1);
  lua_pop(L, 1);
  if (protector == NULL || !mp_protects(protector))
    return false;
  lua_getinfo(L, "f", ar);
  bool other = lua_getlocal(L, &caller, 1) != NULL && !lua_rawequal(L, -1, -2);
  lua_settop(L, -3);
  return other;
}

static bool thread_in_close(lua_State *L) {
  lua_Debug ar;
  if (!lua_checkstack(L, 4))
    return false;
  for (int level = 0; lua_getstack(L, level, &ar); level++) {
    if (frame_is_close(L, &ar, level))
      return true;
  }
  return false;
}

bool mp_task_in_close(lua_State *L, mp_task *task) {
  for (lua_State *co = L; co; co = co == task->co ? NULL : mp_coroutine_resumer(L, co)) {
    if (thread_in_close(co))
      return true;
  }
  return false;
}

/* Waiting. */

/* Pushes the name by which a library function is known ("table.sort"); nothing when it has none. */
static bool push_library_name(lua_State *L, int function) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (!lua_istable(L, -1) || lua_type(L, -2) != LUA_TSTRING)
      continue;
    const char *module = lua_tostring(L, -2);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      if (!lua_rawequal(L, -1, function) || lua_type(L, -2) != LUA_TSTRING)
        continue;
      bool global = strcmp(module, LUA_GNAME) == 0;
      lua_pushfstring(L, "%s%s%s", global ? "" : module, global ? "" : ".", lua_tostring(L, -2));
      lua_replace(L, -6);
      lua_pop(L, 4);
      return true;
    }
  }
  lua_pop(L, 1);
  return false;
}

/* Pushes the name of the function at this level if it is one that cannot be waited in. */
static bool push_culprit(lua_State *L, lua_Debug *ar) {
  lua_getinfo(L, "Snf", ar);
  int function = lua_gettop(L);
  lua_CFunction c = lua_tocfunction(L, function);
  if (strcmp(ar->what, "C") != 0 || c == NULL || mp_protects(c)) {
    lua_pop(L, 1);
    return false;
  }
  if (!push_library_name(L, function))
    lua_pushstring(L, ar->name ? ar->name : "a C function");
  return true;
}

/* Pushes the name of what makes waiting impossible in `L`'s frames; false when there is none. */
static bool push_culprit_of(lua_State *L, int level) {
  lua_Debug ar;
  if (!lua_checkstack(L, 16))
    return false;
  for (; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "n", &ar);
    if (strcmp(ar.namewhat, "metamethod") == 0) {
      lua_pushstring(L, ar.name);
      return true;
    }
    if (push_culprit(L, &ar))
      return true;
  }
  return false;
}

/* The coroutine, from L outwards to its task's, that cannot be suspended; NULL when all can. */
static lua_State *find_unyieldable(lua_State *L, const mp_task *task) {
  for (lua_State *co = L; co; co = co == task->co ? NULL : mp_coroutine_resumer(L, co)) {
    if (!lua_isyieldable(co))
      return co;
  }
  return NULL;
}

static void raise_cannot_wait(lua_State *L, lua_State *where, const char *what) {
  const char *culprit = "the program's start";
  mp_task *task = mp_task_current(L);
  if (push_culprit_of(where, 1)) {
    if (where != L)
      lua_xmove(where, L, 1);
    culprit = lua_tostring(L, -1);
  } else if (task && where != task->co) {
    culprit = "coroutine.close";
  }
  mp_raise(L, "task", "cannot_wait",
           "move the call out of it: collect first, then wait in a plain loop",
           "`%s` waits, and Lua cannot wait inside `%s`", what, culprit);
}

bool mp_can_wait(lua_State *L) {
  mp_task *task = mp_task_current(L);
  return task && find_unyieldable(L, task) == NULL;
}

static int wait_gc(lua_State *L) {
  mp_wait *wait = lua_touserdata(L, 1);
  mp_error_reset(&wait->error);
  if (wait->release)
    wait->release(wait);
  wait->release = NULL;
  return 0;
}

void *mp_wait_new(lua_State *L, size_t size, const char *what, mp_wait_finish finish) {
  mp_task *task = mp_task_current(L);
  lua_State *unyieldable = task ? find_unyieldable(L, task) : L;
  if (task == NULL || unyieldable) {
    raise_cannot_wait(L, unyieldable, what);
    return NULL;
  }
  if ((task->cancelled || task->child_failed) && interruption_is_due(L, task))
    raise_interruption(L, task);
  if (task->waits_only_for &&
      strncmp(what, task->waits_only_for, strlen(task->waits_only_for)) != 0)
    mp_raise(L, "task", "cannot_wait", "read what is needed before, and act after it",
             "`%s` waits, and inside a transaction only store calls may wait", what);
  mp_wait *wait = lua_newuserdatauv(L, size, 0);
  memset(wait, 0, size);
  if (luaL_newmetatable(L, "moonport.wait")) {
    lua_pushcfunction(L, wait_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  wait->task = task;
  wait->finish = finish;
  return wait;
}

static int wait_over(lua_State *L, int status, lua_KContext context) {
  (void)status;
  mp_wait *wait = (mp_wait *)context;
  mp_task *task = wait->task;
  if (wait->error.domain == NULL)
    return wait->finish(L, wait);
  if (mp_error_is(&wait->error, MP_CANCELLED) &&
      (task->overdue || task->child_failed || (task->cancelled && !task->delivered)))
    return raise_interruption(L, task);
  return mp_throw(L, &wait->error);
}

int mp_wait_yield(lua_State *L, mp_wait *wait) {
  if (wait->done) /* ended while it was being started */
    return wait_over(L, LUA_YIELD, (lua_KContext)wait);
  wait->L = L;
  wait->task->wait = wait;
  wait->task->state = TASK_WAITING;
  return lua_yieldk(L, 0, (lua_KContext)wait, wait_over);
}

int mp_wait_again(lua_State *L, mp_wait *wait) {
  wait->done = false;
  return mp_wait_yield(L, wait);
}

void mp_wait_done(mp_wait *wait) {
  if (wait->done)
    return;
  wait->done = true;
  wait->op = NULL;
  mp_task *task = wait->task;
  if (task->state == TASK_WAITING && task->wait == wait) {
    task->wait = NULL;
    make_ready(task);
  }
}

void mp_wait_cancelled(mp_wait *wait) {
  mp_error_set(&wait->error, "task", MP_CANCELLED, "cancelled");
}

void mp_wait_fail(mp_wait *wait, const mp_error *err) {
  if (err)
    mp_error_copy(&wait->error, err);
}

/* Ending a task. */

static void cancel_children(lua_State *L, mp_task *task, const char *reason) {
  for (mp_task *child = task->first_child; child; child = child->next_sibling) {
    if (child->shielded)
      continue;
    lua_pushstring(L, reason);
    mp_task_cancel(L, child);
  }
}

static void tell_parent_of_failure(lua_State *L, mp_task *task, bool parent_awaits) {
  mp_task *parent = task->parent;
  if (parent == NULL || task->contained || task->cancelled)
    return;
  if (parent->session) {
    mp_task_push_slot(L, task, TASK_UV_RESULT);
    if (!task->awaiters && task->rt->on_orphan_failed)
      task->rt->on_orphan_failed(task->rt, L);
    lua_pop(L, 1);
    return;
  }
  cancel_children(L, parent, "a sibling task failed");
  if (parent_awaits || parent->child_failed)
    return;
  mp_task_push_slot(L, task, TASK_UV_RESULT);
  mp_task_set_slot(L, parent, TASK_UV_CHILD_ERROR);
  mp_task_push_slot(L, task, TASK_UV_TRACEBACK);
  mp_task_set_slot(L, parent, TASK_UV_TRACEBACK);
  parent->child_failed = true;
  mp_task_interrupt(parent);
}

/* The task's own function has succeeded while a child's failure was never raised in it. */
static void take_over_child_error(lua_State *L, mp_task *task) {
  if (!task->child_failed || task->failed)
    return;
  task->failed = true;
  mp_task_push_slot(L, task, TASK_UV_CHILD_ERROR);
  mp_task_set_slot(L, task, TASK_UV_RESULT);
}

/* The next Ctrl-C is the first one again, and meant for what comes next. */
static void leave_foreground(mp_task *task) {
  mp_runtime *rt = task->rt;
  if (rt->foreground != task)
    return;
  rt->foreground = NULL;
  if (rt->session && rt->signal == SIGINT)
    rt->interrupts = 0;
}

static void end_task(mp_task *task);

static void settle(mp_task *task) {
  if (task->first_child) {
    task->state = TASK_JOINING;
    if (task->failed)
      cancel_children(task->rt->L, task, "the parent task failed");
  } else {
    end_task(task);
  }
}

static void end_task(mp_task *task) {
  lua_State *L = task->rt->L;
  mp_task *parent = task->parent;
  take_over_child_error(L, task);
  task->state = TASK_DONE;
  stop_close_timer(task);
  leave_foreground(task);
  bool parent_awaits = false;
  if (parent)
    leave_parent(task);
  for (mp_wait *wait = task->awaiters; wait; wait = wait->next)
    parent_awaits |= parent && wait->task == parent;
  if (task->failed)
    tell_parent_of_failure(L, task, parent_awaits);
  while (task->awaiters) {
    mp_wait *wait = task->awaiters;
    task->awaiters = wait->next;
    mp_wait_done(wait);
  }
  task->parent = NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, task->rt->tasks_ref);
  lua_pushnil(L);
  lua_rawsetp(L, -2, task->co);
  lua_pop(L, 1);
  if (parent && parent->state == TASK_JOINING && parent->first_child == NULL)
    end_task(parent);
}

/* Running. */

static void resume(mp_task *task) {
  mp_runtime *rt = task->rt;
  int nresults;
  int nargs = task->nargs;
  task->nargs = 0;
  task->state = TASK_RUNNING;
  rt->current = task;
  rt->running = task->co;
  int status = lua_resume(task->co, rt->L, nargs, &nresults);
  rt->current = NULL;
  rt->running = rt->L;
  if (status == LUA_YIELD)
    return; /* only mp_wait_yield comes through: coroutine.yield refuses at this level */
  if (status != LUA_OK) { /* out of memory in the body itself */
    task->failed = true;
    lua_xmove(task->co, rt->L, 1);
    mp_task_set_slot(rt->L, task, TASK_UV_RESULT);
  }
  settle(task);
}

bool mp_task_run_ready(mp_runtime *rt) {
  mp_task *last = rt->ready_last;
  if (last == NULL)
    return false;
  for (mp_task *task = NULL;
       task != last && rt->ready_first;) { /* those made ready meanwhile wait their turn */
    task = rt->ready_first;
    rt->ready_first = task->next_ready;
    if (rt->ready_first == NULL)
      rt->ready_last = NULL;
    resume(task);
  }
  return true;
}
