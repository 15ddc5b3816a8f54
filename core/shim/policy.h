/* Whether, and after how long, a service that ended starts again. Pure arithmetic. */
#ifndef MP_SHIM_POLICY_H
#define MP_SHIM_POLICY_H

#include "spec.h"

typedef struct {
  int in_a_row; /* automatic restarts since the service last was healthy, or was started by hand */
} mp_shim_backoff;

typedef enum {
  MP_SHIM_END,     /* the policy does not ask for a restart */
  MP_SHIM_GIVE_UP, /* it does, and restart_max restarts in a row are used up */
  MP_SHIM_RESTART,
} mp_shim_verdict;

/* Decides after a run of `ran_ms` that succeeded (exit code 0) or not. A run of at least
 * backoff_reset_ms begins the counting anew. For MP_SHIM_RESTART, *delay_ms is how long to wait and
 * the restart is counted. */
mp_shim_verdict mp_shim_decide(mp_shim_backoff *backoff, const mp_shim_spec *spec, bool succeeded,
                               int64_t ran_ms, int64_t *delay_ms);

/* The wait before the n-th restart in a row (n >= 1): initial, doubled n-1 times, at most max. */
int64_t mp_shim_backoff_delay(int64_t initial_ms, int64_t max_ms, int n);

#endif
