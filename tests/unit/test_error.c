#include "unit.h"

#include "core/error.h"

#include <errno.h>

static void errno_errors_carry_the_symbolic_code_and_the_operand(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_error_errno(&err, "fs", ENOENT, "could not open `%s`", "/x"), -1);
  assert_string_equal(err.code, "ENOENT");
  assert_string_equal(err.message, "could not open `/x`: No such file or directory");
  mp_error_reset(&err);
}

static void libuv_codes_read_like_errno(void **state) {
  (void)state;
  assert_string_equal(mp_errno_name(-ECONNREFUSED), "ECONNREFUSED");
  assert_string_equal(mp_errno_name(99999), "EUNKNOWN");
}

static void wrapping_keeps_the_cause_and_copies_are_deep(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT, copy = MP_ERROR_INIT;
  mp_error_set(&err, "http", MP_TIMEOUT, "no answer");
  mp_error_hint(&err, "is it running?");
  mp_error_wrap(&err, "recipe", "failed", "step `%s` failed", "ready");
  mp_error_copy(&copy, &err);
  mp_error_reset(&err);
  assert_string_equal(copy.message, "step `ready` failed");
  assert_true(mp_error_is(copy.cause, MP_TIMEOUT));
  assert_string_equal(copy.cause->hint, "is it running?");
  mp_error_reset(&copy);
  assert_null(copy.domain);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(errno_errors_carry_the_symbolic_code_and_the_operand),
      cmocka_unit_test(libuv_codes_read_like_errno),
      cmocka_unit_test(wrapping_keeps_the_cause_and_copies_are_deep),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
