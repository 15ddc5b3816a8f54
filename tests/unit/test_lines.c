#include "unit.h"

#include "core/lines.h"

static void assert_next(mp_lines *lines, const char *expected) {
  const char *line;
  size_t len;
  assert_true(mp_lines_next(lines, &line, &len));
  assert_int_equal(len, strlen(expected));
  assert_memory_equal(line, expected, len);
}

static void lines_split_at_every_possible_point(void **state) {
  (void)state;
  const char *text = "one\ntwo\r\n\nfour";
  for (size_t cut = 0; cut <= strlen(text); cut++) {
    mp_lines lines = MP_LINES_INIT;
    const char *line;
    size_t len;
    size_t taken = 0;
    const char *expected[] = {"one", "two", ""};
    mp_lines_feed(&lines, text, cut);
    while (mp_lines_next(&lines, &line, &len)) {
      assert_int_equal(len, strlen(expected[taken]));
      assert_memory_equal(line, expected[taken], len);
      taken++;
    }
    mp_lines_feed(&lines, text + cut, strlen(text) - cut);
    while (taken < 3)
      assert_next(&lines, expected[taken++]);
    assert_false(mp_lines_next(&lines, &line, &len));
    assert_true(mp_lines_rest(&lines, &line, &len));
    assert_int_equal(len, 4);
    assert_false(mp_lines_rest(&lines, &line, &len));
    mp_lines_free(&lines);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(lines_split_at_every_possible_point)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
