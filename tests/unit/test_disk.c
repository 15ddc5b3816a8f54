#include "unit.h"

#include "core/disk.h"

static void a_file_system_tells_its_room(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_disk disk;
  assert_int_equal(mp_disk_read("/tmp", &disk, &err), 0);
  assert_true(disk.total > 0);
  assert_true(disk.available <= disk.total);
}

static void one_without_a_limit_on_files_says_so(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_disk disk;
  assert_int_equal(mp_disk_read("/proc", &disk, &err), 0);
  assert_false(disk.counts_inodes);
  assert_false(disk.network);
}

static void a_path_that_is_not_there_is_an_error(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_disk disk;
  assert_int_equal(mp_disk_read("/nowhere/at/all", &disk, &err), -1);
  assert_string_equal(err.code, "ENOENT");
  mp_error_reset(&err);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_system_tells_its_room),
      cmocka_unit_test(one_without_a_limit_on_files_says_so),
      cmocka_unit_test(a_path_that_is_not_there_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
