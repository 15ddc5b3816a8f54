/* Waiting on the loop for the end of a process that is not our child. */
#ifndef MP_CORE_IDENTITY_WAIT_H
#define MP_CORE_IDENTITY_WAIT_H

#include "identity.h"
#include "loop.h"

/* Calls back once the very process has ended; soon when it has already. Its exit is known to its
 * parent alone. Returns NULL and an error where it cannot be watched. */
typedef void (*mp_identity_wait_cb)(void *data, bool cancelled);
mp_op *mp_identity_wait_start(mp_loop *loop, const mp_identity *identity, mp_identity_wait_cb cb,
                              void *data, mp_error *err);

#endif
