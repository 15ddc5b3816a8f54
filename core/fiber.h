/* A second C stack, for a library that only knows how to block: it runs on the fiber, and where it
 * would block the fiber pauses and the loop goes on. Loop thread only. */
#ifndef MP_CORE_FIBER_H
#define MP_CORE_FIBER_H

#include "error.h"

#include <stdbool.h>

typedef struct mp_fiber mp_fiber;

/* Makes a fiber that will run `fn(data)`. Returns NULL with *err filled in. */
mp_fiber *mp_fiber_new(void (*fn)(void *data), void *data, mp_error *err);

/* Runs the fiber until it pauses or ends. Returns false once it has ended. */
bool mp_fiber_resume(mp_fiber *fiber);

/* Goes back to whoever resumed the fiber, until it is resumed again. Called on the fiber. */
void mp_fiber_pause(mp_fiber *fiber);

/* Releases a fiber that has ended or never ran. */
void mp_fiber_free(mp_fiber *fiber);

#endif
