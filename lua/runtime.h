/* The runtime: one Lua state on one loop. */
#ifndef MP_LUA_RUNTIME_H
#define MP_LUA_RUNTIME_H

#include "core/loop.h"
#include "heap.h"

#include <lua.h>
#include <stdbool.h>

typedef struct mp_task mp_task;
typedef struct mp_runtime mp_runtime;

struct mp_runtime {
  mp_loop loop;
  mp_heap heap;
  lua_State *L;         /* the main thread; scripts run in tasks, never on it */
  mp_task *ready_first; /* tasks to resume, in order */
  mp_task *ready_last;
  mp_task *current; /* the running task */
  bool in_loop;     /* uv_run is under way */
  lua_State
      *running; /* the coroutine that runs, which may be one of a script's own; NULL at the end */
  mp_task *foreground;  /* what Ctrl-C cancels: the script, or the REPL's running line */
  mp_task *session;     /* the REPL; NULL in other programs. See session.h */
  int tasks_ref;        /* registry: live tasks, by their coroutine, to keep them */
  int resumers_ref;     /* registry: who resumed a script's own coroutine that runs or waits */
  double close_timeout; /* seconds that __close handlers have after a cancel */
  bool is_script;       /* a script's own output counts, see output.h */
  bool exit_requested;  /* os.exit was called */
  int exit_code;
  volatile int interrupts; /* Ctrl-C since the foreground task began */
  volatile int signal;     /* the signal behind the last of them */
  bool keep_on_interrupt;  /* a second Ctrl-C does not end the program (the REPL) */
  bool hogging;            /* since the last Ctrl-C no task has come back to the loop */
  uv_async_t wake;         /* sent by the signal handler */
  /* Called when a task without a parent that waits for it has failed: REPL background tasks. The
   * error is on top of L. */
  void (*on_orphan_failed)(mp_runtime *rt, lua_State *L);
  /* Called on the loop at a Ctrl-C while nothing runs in the foreground: the REPL's prompt. */
  void (*on_interrupt)(mp_runtime *rt);
};

/* Makes the state with all libraries. Returns NULL with *err filled in. */
mp_runtime *mp_runtime_new(mp_error *err);

/* Cancels what still runs and waits for its end. */
void mp_runtime_finish(mp_runtime *rt);

/* Finishes, then closes everything; the program is about to end, so Lua's memory is left to the
 * kernel. mp_runtime_interrupt must not be called from here on. */
void mp_runtime_free(mp_runtime *rt);

/* The runtime of a state or coroutine. */
mp_runtime *mp_runtime_of(lua_State *L);

/* Runs the function and `nargs` arguments on top of rt->L as the foreground task, together with all
 * other tasks, until it has ended. Pops them. On success returns LUA_OK with the results on rt->L;
 * else an error status with the error value and its traceback (a string or nil) pushed. */
int mp_runtime_call(mp_runtime *rt, int nargs);

/* Ctrl-C: cancels the foreground task; a script that computes is interrupted at its next line.
 * Where the program goes on after a second one (the REPL), that ends __close handlers early, and a
 * background task that never comes back to the loop. Safe in a signal handler. */
void mp_runtime_interrupt(mp_runtime *rt);

/* The exit status for an error value at `index`: its `exit` field, else by its code (usage 2,
 * not_found 3, refused 4), 128 + the signal after an interrupt, else 1. */
int mp_exit_status(lua_State *L, int index);

#endif
