#include "unit.h"

#include "core/mem.h"
#include "core/path.h"

static void assert_owned(char *text, const char *expected) {
  assert_string_equal(text, expected);
  free(text);
}

static void join_puts_exactly_one_slash(void **state) {
  (void)state;
  assert_owned(mp_path_join("a", "b"), "a/b");
  assert_owned(mp_path_join("a/", "b"), "a/b");
  assert_owned(mp_path_join("/", "b"), "/b");
  assert_owned(mp_path_join("a", "/b"), "/b");
  assert_owned(mp_path_join("", "b"), "b");
  assert_owned(mp_path_join("a", ""), "a");
}

static void names_split_as_the_shell_tools_do(void **state) {
  (void)state;
  const char *cases[][3] = {{"/a/b/", "/a", "b"}, {"a", ".", "a"},    {"/", "/", "/"},
                            {"/a", "/", "a"},     {"a//b", "a", "b"}, {"//", "/", "/"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_owned(mp_path_dirname(cases[i][0]), cases[i][1]);
    assert_owned(mp_path_basename(cases[i][0]), cases[i][2]);
  }
  assert_owned(mp_path_extension("/x.d/a.tar.gz"), ".gz");
  assert_owned(mp_path_extension("/x.d/a"), "");
  assert_owned(mp_path_extension(".profile"), "");
  assert_owned(mp_path_extension(".profile.bak"), ".bak");
}

static void normalize_removes_what_says_nothing(void **state) {
  (void)state;
  const char *cases[][2] = {{"", "."},
                            {".", "."},
                            {"/", "/"},
                            {"//a///b/", "/a/b"},
                            {"a/./b", "a/b"},
                            {"a/../b", "b"},
                            {"a/..", "."},
                            {"../a", "../a"},
                            {"a/../../b", "../b"},
                            {"/../a", "/a"},
                            {"../../x/..", "../.."},
                            {"/a/b/../../..", "/"},
                            {"..a/..", "."},
                            {"/a..", "/a.."}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_owned(mp_path_normalize(cases[i][0]), cases[i][1]);
}

static void relative_leads_from_one_to_the_other(void **state) {
  (void)state;
  assert_owned(mp_path_relative("/a/b/c", "/a"), "b/c");
  assert_owned(mp_path_relative("/a/b", "/a/c/d"), "../../b");
  assert_owned(mp_path_relative("/a", "/a"), ".");
  assert_owned(mp_path_relative("/a", "/a/b"), "..");
  assert_owned(mp_path_relative("/ab", "/a"), "../ab");
  assert_owned(mp_path_relative("/", "/a"), "..");
  assert_owned(mp_path_relative("/a", "/"), "a");
}

static void a_tilde_is_the_home_directory(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  setenv("HOME", "/home/me", 1);
  assert_owned(mp_path_expand("~/x", &err), "/home/me/x");
  assert_owned(mp_path_expand("~", &err), "/home/me");
  assert_owned(mp_path_expand("~root/x", &err), "/root/x");
  assert_owned(mp_path_expand("a~", &err), "a~");
  assert_null(mp_path_expand("~nobody-of-that-name/x", &err));
  assert_true(mp_error_is(&err, MP_INVALID));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(join_puts_exactly_one_slash),
      cmocka_unit_test(names_split_as_the_shell_tools_do),
      cmocka_unit_test(normalize_removes_what_says_nothing),
      cmocka_unit_test(relative_leads_from_one_to_the_other),
      cmocka_unit_test(a_tilde_is_the_home_directory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
