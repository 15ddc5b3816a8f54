#include "policy.h"

#include <limits.h>

int64_t mp_shim_backoff_delay(int64_t initial_ms, int64_t max_ms, int n) {
  int64_t delay = initial_ms;
  for (int i = 1; i < n && delay > 0 && delay < max_ms; i++)
    delay = delay > max_ms / 2 ? max_ms : delay * 2;
  return delay < max_ms ? delay : max_ms;
}

mp_shim_verdict mp_shim_decide(mp_shim_backoff *backoff, const mp_shim_spec *spec, bool succeeded,
                               int64_t ran_ms, int64_t *delay_ms) {
  if (spec->restart == MP_SHIM_RESTART_NO ||
      (spec->restart == MP_SHIM_RESTART_ON_FAILURE && succeeded))
    return MP_SHIM_END;
  if (ran_ms >= spec->backoff_reset_ms)
    backoff->in_a_row = 0;
  if (spec->restart_max >= 0 && backoff->in_a_row >= spec->restart_max)
    return MP_SHIM_GIVE_UP;
  backoff->in_a_row += backoff->in_a_row < INT_MAX;
  *delay_ms =
      mp_shim_backoff_delay(spec->backoff_initial_ms, spec->backoff_max_ms, backoff->in_a_row);
  return MP_SHIM_RESTART;
}
