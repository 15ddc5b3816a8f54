#include "unit.h"

#include "ledger.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64], path[96];

static int make_directory(void **state) {
  (void)state;
  const char *base = getenv("TMPDIR");
  snprintf(directory, sizeof directory, "%.40s/ledger.XXXXXX", base ? base : "/tmp");
  if (mkdtemp(directory) == NULL)
    return -1;
  snprintf(path, sizeof path, "%s/squares.log", directory);
  return 0;
}

static int remove_directory(void **state) {
  (void)state;
  unlink(path);
  return rmdir(directory);
}

static void write_file(const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void assert_file(const char *expected) {
  char text[4096];
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  assert_string_equal(text, expected);
}

static void open_or_fail(ledger *l) {
  reason why = {""};
  if (ledger_open(l, directory, &why) != 0)
    fail_msg("%s", why.text);
}

static void a_reopened_ledger_goes_on_where_it_ended(void **state) {
  (void)state;
  ledger l;
  reason why;
  open_or_fail(&l);
  assert_false(l.any);
  assert_int_equal(ledger_append(&l, 9, 11, &why), 0);
  ledger_close(&l);
  open_or_fail(&l);
  assert_true(l.any);
  assert_int_equal(l.last, 11);
  assert_int_equal(ledger_append(&l, 12, 12, &why), 0);
  ledger_close(&l);
  assert_file("9 81\n10 100\n11 121\n12 144\n");
}

static void an_unfinished_line_is_cut_at_every_length(void **state) {
  (void)state;
  const char *whole = "9 81\n10 100\n", *next = "11 121";
  for (size_t len = 1; len <= strlen(next); len++) {
    ledger l;
    char text[64];
    snprintf(text, sizeof text, "%s%.*s", whole, (int)len, next);
    write_file(text);
    open_or_fail(&l);
    assert_int_equal(l.last, 10);
    assert_int_equal(l.cut, len);
    ledger_close(&l);
    assert_file(whole);
  }
}

static void a_damaged_file_is_refused_and_left_alone(void **state) {
  (void)state;
  static const char *const damaged[] = {
      "9 82\n", "9\n", "x\n", "\n", "9 81\n\n", "9  81\n", "18446744073709551616 1\n"};
  for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
    ledger l;
    reason why = {""};
    write_file(damaged[i]);
    assert_int_equal(ledger_open(&l, directory, &why), -1);
    assert_non_null(strstr(why.text, "damaged"));
    assert_file(damaged[i]);
  }
}

static void a_second_instance_is_refused(void **state) {
  (void)state;
  ledger first, second;
  reason why = {""};
  unlink(path);
  open_or_fail(&first);
  assert_int_equal(ledger_open(&second, directory, &why), -1);
  assert_non_null(strstr(why.text, "another instance"));
  ledger_close(&first);
}

/* A file size limit cuts a write in the middle just as a full disk does. */
static void a_write_that_fails_leaves_the_file_as_it_was(void **state) {
  (void)state;
  ledger l;
  reason why = {""};
  struct rlimit before, tight;
  unlink(path);
  open_or_fail(&l);
  assert_int_equal(ledger_append(&l, 9, 10, &why), 0);
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  tight = (struct rlimit){16, before.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
  int failed = ledger_append(&l, 11, 13, &why);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(failed, -1);
  assert_non_null(strstr(why.text, "cannot append"));
  assert_file("9 81\n10 100\n");
  assert_int_equal(ledger_append(&l, 11, 11, &why), 0);
  assert_file("9 81\n10 100\n11 121\n");
  ledger_close(&l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_reopened_ledger_goes_on_where_it_ended),
      cmocka_unit_test(an_unfinished_line_is_cut_at_every_length),
      cmocka_unit_test(a_damaged_file_is_refused_and_left_alone),
      cmocka_unit_test(a_second_instance_is_refused),
      cmocka_unit_test(a_write_that_fails_leaves_the_file_as_it_was),
  };
  return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
