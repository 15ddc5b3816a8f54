/* Locks between processes: flock(2) on a file that stays where it is. The kernel drops the lock
 * when its holder ends, however that happens, so there is no stale lock. */
#ifndef MP_CORE_FS_LOCK_H
#define MP_CORE_FS_LOCK_H

#include "loop.h"

#include <stdbool.h>

typedef struct mp_lock mp_lock;

typedef struct {
  const char *path; /* made with mode 0600 where missing; its directory must exist */
  bool shared;      /* together with other shared holders */
  int64_t wait_ms;  /* how long to wait for other holders; 0: not at all; negative: for ever */
} mp_lock_options;

/* On success `lock` is the caller's, else NULL. Error domain "fs": MP_LOCK_HELD (with the holder's
 * process id in the message where it can be known), after a wait too; MP_CANCELLED; errno names.
 * Loop thread; exactly once. */
#define MP_LOCK_HELD "held"
typedef void (*mp_lock_cb)(void *data, mp_lock *lock, mp_error *err);

/* Takes a lock. A thread of its own waits, not one of the pool. Returns NULL and an error only
 * where no thread could be had. */
mp_op *mp_lock_start(mp_loop *loop, const mp_lock_options *options, mp_lock_cb cb, void *data,
                     mp_error *err);

/* Gives the lock back and frees it. Does not block. The file stays. */
void mp_lock_release(mp_lock *lock);

const char *mp_lock_path(const mp_lock *lock);

#endif
