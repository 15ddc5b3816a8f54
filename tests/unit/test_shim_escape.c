#include "unit.h"

#include "core/shim/escape.h"

static void bytes_come_back_as_they_were(void **state) {
  (void)state;
  char bytes[1024], line[2048];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (char)(i % 4 == 0 ? '\\' : i % 7 == 0 ? '\n' : i % 5 == 0 ? '\r' : (int)i);
  size_t len = mp_shim_escape(bytes, sizeof bytes, line);
  assert_null(memchr(line, '\n', len));
  assert_null(memchr(line, '\r', len));
  assert_int_equal(mp_shim_unescape(line, len), sizeof bytes);
  assert_memory_equal(line, bytes, sizeof bytes);
}

static void a_backslash_at_the_end_stands_for_itself(void **state) {
  (void)state;
  char line[] = "a\\nb\\x\\";
  assert_int_equal(mp_shim_unescape(line, sizeof line - 1), 5);
  assert_memory_equal(line, "a\nbx\\", 5);
}

static void nothing_is_nothing(void **state) {
  (void)state;
  char line[1];
  assert_int_equal(mp_shim_escape("", 0, line), 0);
  assert_int_equal(mp_shim_unescape(line, 0), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_come_back_as_they_were),
      cmocka_unit_test(a_backslash_at_the_end_stands_for_itself),
      cmocka_unit_test(nothing_is_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
