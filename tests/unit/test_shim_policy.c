#include "unit.h"

#include "core/shim/policy.h"

#include <limits.h>

static mp_shim_spec spec_with(mp_shim_restart restart, int max) {
  return (mp_shim_spec){
      .restart = restart,
      .restart_max = max,
      .backoff_initial_ms = 100,
      .backoff_max_ms = 1000,
      .backoff_reset_ms = 5000,
  };
}

static void the_delay_doubles_up_to_the_most(void **state) {
  (void)state;
  static const int64_t expected[] = {100, 200, 400, 800, 1000, 1000};
  for (int n = 1; n <= 6; n++)
    assert_int_equal(mp_shim_backoff_delay(100, 1000, n), expected[n - 1]);
}

static void the_delay_neither_overflows_nor_shrinks(void **state) {
  (void)state;
  static const int64_t most[] = {0, 1, 7, 1000, INT64_MAX / 2, INT64_MAX};
  for (size_t m = 0; m < sizeof most / sizeof *most; m++) {
    int64_t last = 0;
    for (int n = 1; n < 200; n++) {
      int64_t delay = mp_shim_backoff_delay(3, most[m], n);
      assert_true(delay >= last && delay <= most[m]);
      last = delay;
    }
  }
  assert_int_equal(mp_shim_backoff_delay(0, 1000, 1000000), 0);
}

static void each_policy_restarts_what_it_says(void **state) {
  (void)state;
  int64_t delay;
  mp_shim_backoff backoff = {0};
  mp_shim_spec no = spec_with(MP_SHIM_RESTART_NO, -1);
  mp_shim_spec on_failure = spec_with(MP_SHIM_RESTART_ON_FAILURE, -1);
  mp_shim_spec always = spec_with(MP_SHIM_RESTART_ALWAYS, -1);
  assert_int_equal(mp_shim_decide(&backoff, &no, false, 0, &delay), MP_SHIM_END);
  assert_int_equal(mp_shim_decide(&backoff, &on_failure, true, 0, &delay), MP_SHIM_END);
  assert_int_equal(backoff.in_a_row, 0);
  assert_int_equal(mp_shim_decide(&backoff, &on_failure, false, 0, &delay), MP_SHIM_RESTART);
  assert_int_equal(mp_shim_decide(&backoff, &always, true, 0, &delay), MP_SHIM_RESTART);
  assert_int_equal(delay, 200);
}

static void counting_restarts_does_not_overflow(void **state) {
  (void)state;
  mp_shim_backoff backoff = {.in_a_row = INT_MAX};
  const mp_shim_spec spec = {
      .restart = MP_SHIM_RESTART_ALWAYS, .restart_max = -1, .backoff_reset_ms = 1000};
  int64_t delay = 0;
  assert_int_equal(mp_shim_decide(&backoff, &spec, false, 0, &delay), MP_SHIM_RESTART);
  assert_int_equal(backoff.in_a_row, INT_MAX);
}

static void restarts_in_a_row_are_limited(void **state) {
  (void)state;
  int64_t delay;
  mp_shim_backoff backoff = {0};
  mp_shim_spec spec = spec_with(MP_SHIM_RESTART_ALWAYS, 2);
  assert_int_equal(mp_shim_decide(&backoff, &spec, false, 0, &delay), MP_SHIM_RESTART);
  assert_int_equal(mp_shim_decide(&backoff, &spec, false, 4999, &delay), MP_SHIM_RESTART);
  assert_int_equal(mp_shim_decide(&backoff, &spec, false, 0, &delay), MP_SHIM_GIVE_UP);
  mp_shim_spec none = spec_with(MP_SHIM_RESTART_ALWAYS, 0);
  mp_shim_backoff fresh = {0};
  assert_int_equal(mp_shim_decide(&fresh, &none, false, 0, &delay), MP_SHIM_GIVE_UP);
}

static void a_healthy_run_begins_the_counting_anew(void **state) {
  (void)state;
  int64_t delay;
  mp_shim_backoff backoff = {.in_a_row = 2};
  mp_shim_spec spec = spec_with(MP_SHIM_RESTART_ALWAYS, 2);
  assert_int_equal(mp_shim_decide(&backoff, &spec, false, 5000, &delay), MP_SHIM_RESTART);
  assert_int_equal(backoff.in_a_row, 1);
  assert_int_equal(delay, 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_delay_doubles_up_to_the_most),
      cmocka_unit_test(the_delay_neither_overflows_nor_shrinks),
      cmocka_unit_test(each_policy_restarts_what_it_says),
      cmocka_unit_test(restarts_in_a_row_are_limited),
      cmocka_unit_test(counting_restarts_does_not_overflow),
      cmocka_unit_test(a_healthy_run_begins_the_counting_anew),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
