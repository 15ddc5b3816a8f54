/* Tasks: coroutines that wait for C operations without blocking the loop.
 *
 * A binding that waits looks like this:
 *
 *   typedef struct { mp_wait wait; int status; } sleep_wait;       // mp_wait comes first
 *
 *   static void slept(void *data, bool cancelled) {                // the core's callback
 *     sleep_wait *self = data;
 *     if (cancelled)
 *       mp_wait_cancelled(&self->wait);
 *     mp_wait_done(&self->wait);
 *   }
 *
 *   static int sleep_finish(lua_State *L, mp_wait *wait) {         // back in the task
 *     return 0;                                                    // number of results pushed
 *   }
 *
 *   static int l_sleep(lua_State *L) {
 *     lua_Number seconds = luaL_checknumber(L, 1);
 *     sleep_wait *self = mp_wait_new(L, sizeof *self, "task.sleep", sleep_finish);
 *     self->wait.op = mp_timer_start(mp_loop_of(L), seconds * 1000, slept, self);
 *     return mp_wait_yield(L, &self->wait);
 *   }
 *
 * If the operation cannot be started: fill wait.error and `return mp_throw(L, &self->wait.error)`.
 *
 * The wait is a userdata on the stack of the C function, which stays there while the task is
 * suspended; so what it holds lives until `finish` has returned. Everything here is for the loop's
 * thread. */
#ifndef MP_LUA_TASK_H
#define MP_LUA_TASK_H

#include "core/loop.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

typedef struct mp_task mp_task;
typedef struct mp_wait mp_wait;

/* Runs in the task when the wait is over and wait->error is empty: pushes the results and returns
 * their number, or raises. It may wait again: `return mp_wait_again(L, wait)`. */
typedef int (*mp_wait_finish)(lua_State *L, mp_wait *wait);

struct mp_wait {
  mp_op *op;                      /* what mp_op_cancel ends early; NULL where `cancel` does it */
  void (*cancel)(mp_wait *wait);  /* in place of op, or NULL. Ends in mp_wait_done, now or later */
  void (*release)(mp_wait *wait); /* frees what the binding put in the wait; may be NULL */
  mp_error error;                 /* filled by the callback on failure; raised in the task */
  /* the scheduler's own: */
  mp_wait_finish finish;
  mp_task *task;
  lua_State *L;
  mp_wait *next;
  bool done;
  bool unbreakable; /* an interruption does not end this wait */
};

/* Makes a zeroed wait of `size` bytes and pushes it.
 * what: the function as scripts call it ("http.get"), for messages; static string.
 * Raises where L cannot wait (inside table.sort, a __gc, require, ...: the message names it) and
 * where the task has been cancelled. Call it before anything is acquired. */
void *mp_wait_new(lua_State *L, size_t size, const char *what, mp_wait_finish finish);

/* Suspends the task until mp_wait_done. Written `return mp_wait_yield(L, wait)`. */
int mp_wait_yield(lua_State *L, mp_wait *wait);

/* From `finish`: waits once more with the same wait, after a new operation was started or when a
 * further event is expected. */
int mp_wait_again(lua_State *L, mp_wait *wait);

/* Reports the end of the wait from the operation's callback: wakes the task. Exactly once. */
void mp_wait_done(mp_wait *wait);

/* Fills wait->error with the code MP_CANCELLED. */
void mp_wait_cancelled(mp_wait *wait);

/* Takes over the error that a core callback handed in (a deep copy); NULL does nothing. */
void mp_wait_fail(mp_wait *wait, const mp_error *err);

/* True when a call that waits could be made now. Bindings that can also run inline (mp.fs) use it
 * to choose. */
bool mp_can_wait(lua_State *L);

/* The loop of this state. */
mp_loop *mp_loop_of(lua_State *L);

/* The task that is running, NULL outside of any. */
mp_task *mp_task_current(lua_State *L);

/* The module `moonport.core.task`; stdlib/moonport/task.lua completes it. */
int luaopen_moonport_task(lua_State *L);

#endif
