/* The one event loop, and the small asynchronous tools that need nothing else: timers and work on
 * the thread pool. Everything here runs on the loop's thread unless it says otherwise. */
#ifndef MP_CORE_LOOP_H
#define MP_CORE_LOOP_H

#include "error.h"
#include "op.h"

#include <stdint.h>
#include <uv.h>

typedef struct mp_loop {
  uv_loop_t uv;
  void *http; /* the http module's shared state (connection pool), made on first use; see http.h */
  void (*http_close)(struct mp_loop *loop);
} mp_loop;

/* Prepares *loop. The caller owns the memory, which must not move. */
int mp_loop_init(mp_loop *loop, mp_error *err);

/* Runs until nothing is left that keeps the loop alive. */
void mp_loop_run(mp_loop *loop);

/* Closes the modules' shared state and the loop. Every operation must have called back; a handle
 * that is still open is a bug and aborts with its type. */
void mp_loop_close(mp_loop *loop);

/* Monotonic milliseconds, cached once per loop turn. */
uint64_t mp_loop_now(mp_loop *loop);

/* Calls `cb` once, `milliseconds` from now; on cancel with `cancelled` true. */
typedef void (*mp_timer_cb)(void *data, bool cancelled);
mp_op *mp_timer_start(mp_loop *loop, uint64_t milliseconds, mp_timer_cb cb, void *data);

/* Runs `work` on a pool thread, then `done` on the loop's thread.
 * work: may block; touches only `data`.
 * done: exactly once. `cancelled` is true when the work was cancelled before it began; work that
 * has begun is always finished, and then reported with `cancelled` false. */
typedef void (*mp_work_fn)(void *data);
typedef void (*mp_work_done)(void *data, bool cancelled);
mp_op *mp_work_start(mp_loop *loop, mp_work_fn work, mp_work_done done, void *data);

#endif
