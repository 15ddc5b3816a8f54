/* Shared by the files of the scheduler: task.c, task_api.c, coroutine.c, protect.c. */
#ifndef MP_LUA_TASK_INTERNAL_H
#define MP_LUA_TASK_INTERNAL_H

#include "runtime.h"
#include "task.h"

#define MP_TASK_METATABLE "moonport.task"

typedef enum {
  TASK_READY,   /* in the ready queue, or about to be */
  TASK_RUNNING, /* rt->current */
  TASK_WAITING, /* for task->wait */
  TASK_JOINING, /* its function has ended; its children have not */
  TASK_DONE,
} task_state;

/* The user values of a task's userdata. */
enum {
  TASK_UV_THREAD = 1,  /* the coroutine */
  TASK_UV_RESULT,      /* packed results, or the error */
  TASK_UV_CANCEL,      /* the cancel error, once cancelled */
  TASK_UV_CHILD_ERROR, /* the error of a child that failed unawaited */
  TASK_UV_TRACEBACK,   /* of the failure */
  TASK_UV_LAST = TASK_UV_TRACEBACK,
};

typedef struct close_timer close_timer;

struct mp_task {
  mp_runtime *rt;
  lua_State *co;
  mp_task *parent; /* borrowed; lives longer, since it ends after its children */
  mp_task *first_child, *next_sibling, *previous_sibling;
  mp_task *next_ready;
  task_state state;
  int nargs;         /* on co, before the first resume */
  mp_wait *wait;     /* while WAITING: lives on co's stack */
  mp_wait *awaiters; /* waits for the end of this task */
  bool failed;       /* how it ended; meaningful from JOINING on */
  bool cancelled;    /* cancel was asked; sticky */
  bool delivered;    /* the cancel error has been raised in the task */
  bool overdue;      /* the time for __close handlers is over: no wait is shielded any more */
  bool child_failed; /* TASK_UV_CHILD_ERROR is to be raised at the next wait */
  bool contained;    /* its failure reaches only who awaits it */
  bool shielded;     /* cancelling the parent does not cancel it */
  bool gate_shut;
  const char *waits_only_for; /* prefix of the calls it may wait in; NULL: all */
  bool session;               /* the REPL: failures of children are reported and cancel nothing */
  bool line;                  /* a line of it: what it spawns itself belongs to the session */
  close_timer *closing;       /* runs once cancelled */
};

/* Makes a task for the function and `nargs` arguments on top of L, pops them, pushes the task. It
 * runs when the scheduler comes to it. parent: NULL for none. */
mp_task *mp_task_spawn(lua_State *L, mp_task *parent, int nargs);

/* Cancels a task and its children. The reason (a string or nil) is on top of L and is popped. */
void mp_task_cancel(lua_State *L, mp_task *task);

/* Walks the tree of `root`, parents first: what comes after `task`, NULL at the end. */
mp_task *mp_task_next(const mp_task *root, mp_task *task);

/* Ends the task's present wait if it may be interrupted now. */
void mp_task_interrupt(mp_task *task);

/* Resumes the tasks that are ready now. Returns false when there were none. */
bool mp_task_run_ready(mp_runtime *rt);

/* Pushes the task's userdata. */
void mp_task_push(lua_State *L, mp_task *task);

/* Pushes user value `slot` of the task. */
void mp_task_push_slot(lua_State *L, mp_task *task, int slot);

/* Stores the value on top of L in user value `slot` and pops it. */
void mp_task_set_slot(lua_State *L, mp_task *task, int slot);

/* True when the task suspended in order to wait (against a plain coroutine.yield). */
static inline bool mp_task_is_waiting(const mp_task *task) {
  return task && task->state == TASK_WAITING;
}

/* True when `L`, or a coroutine around it, is running a __close handler. */
bool mp_task_in_close(lua_State *L, mp_task *task);

/* True once the cancel error has been raised in the running task: from then on only __close
 * handlers run, and what they call. */
bool mp_task_is_unwinding(lua_State *L);

/* Raises the error on top of L again if it belongs to the cancel of the running task, which pcall
 * and the like must not swallow; otherwise returns. was_unwinding: as it was when the protected
 * call began. One that began before is part of what is unwound, whatever a handler made of the
 * error. */
void mp_task_rethrow_cancel(lua_State *L, bool was_unwinding);

/* True when `co` is the coroutine of a task that has not ended. */
bool mp_task_owns(lua_State *L, lua_State *co);

/* The coroutine that resumed a script's own `co` and has not got it back; NULL for any other. */
lua_State *mp_coroutine_resumer(lua_State *L, lua_State *co);

/* The stand-ins for pcall, xpcall and coroutine.*, and the global `try`. */
void mp_install_protect(lua_State *L);
void mp_install_coroutine(lua_State *L);

/* True for the C functions that protect a call and keep a copy of the protected function at index 1
 * of their stack, by which mp_task_in_close recognises a __close handler run after an error. */
bool mp_protects(lua_CFunction function);

/* The base functions of every task's coroutine and of a script's own. */
int mp_task_body(lua_State *L);
int mp_coroutine_body(lua_State *L);

#endif
