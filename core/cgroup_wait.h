/* Waiting on the loop until a control group is empty. */
#ifndef MP_CORE_CGROUP_WAIT_H
#define MP_CORE_CGROUP_WAIT_H

#include "cgroup.h"
#include "loop.h"

/* Calls back when no process is left in the group or below; after `timeout` milliseconds (0: never)
 * with MP_TIMEOUT, naming who is. The group is borrowed until then. */
typedef void (*mp_cgroup_wait_cb)(void *data, const mp_error *err);
mp_op *mp_cgroup_wait_start(mp_loop *loop, const mp_cgroup *group, uint64_t timeout,
                            mp_cgroup_wait_cb cb, void *data);

#endif
