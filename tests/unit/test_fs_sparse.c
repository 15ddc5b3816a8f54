#include "fs_fixture.h"

#include <fcntl.h>
#include <unistd.h>

static void assert_bytes(const char *path, uint64_t offset, const char *text) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_auto_buf mp_buf bytes = MP_BUF_INIT;
  assert_int_equal(mp_fs_read_at(path, offset, strlen(text), &bytes, &err), 0);
  assert_int_equal(bytes.len, strlen(text));
  assert_memory_equal(bytes.data, text, bytes.len);
}

static void a_sparse_file_has_its_size_and_mode_and_takes_no_room(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  uint64_t before = 1;
  umask(077);
  assert_int_equal(mp_fs_sparse("disk", 20ULL << 30, 0640, false, &before, &err), 0);
  struct stat st = stat_of("disk");
  assert_int_equal(before, 0);
  assert_int_equal(st.st_size, 20LL << 30);
  assert_int_equal(st.st_mode & 07777, 0640);
  assert_true(st.st_blocks < 64);
}

static void a_file_that_grows_keeps_its_bytes_and_mode(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  uint64_t before = 0;
  put("disk", "content");
  assert_int_equal(mp_fs_sparse("disk", 1 << 20, 0600, false, &before, &err), 0);
  assert_int_equal(before, 7);
  assert_int_equal(stat_of("disk").st_size, 1 << 20);
  assert_int_equal(stat_of("disk").st_mode & 07777, 0644);
  assert_bytes("disk", 0, "content");
}

static void a_file_is_never_cut(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  put("disk", "content");
  assert_int_equal(mp_fs_sparse("disk", 3, 0600, false, NULL, &err), -1);
  assert_true(mp_error_is(&err, MP_FS_LARGER));
  assert_int_equal(stat_of("disk").st_size, 7);
}

static void a_link_in_a_sparse_files_place_is_not_followed(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  put("elsewhere", "content");
  assert_int_equal(symlink("elsewhere", "disk"), 0);
  assert_int_equal(mp_fs_sparse("disk", 100, 0600, false, NULL, &err), -1);
  assert_true(mp_error_is(&err, "ELOOP"));
  assert_int_equal(stat_of("elsewhere").st_size, 7);
}

static void a_directory_is_no_sparse_file(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  assert_int_equal(mkdir("disk", 0700), 0);
  assert_int_equal(mp_fs_sparse("disk", 100, 0600, false, NULL, &err), -1);
  assert_true(mp_error_is(&err, "EISDIR"));
}

static void a_size_that_no_file_can_have_leaves_none(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_fs_sparse("disk", INT64_MAX, 0600, false, NULL, &err), -1);
  assert_int_equal(access("disk", F_OK), -1);
  mp_error_reset(&err);
  assert_int_equal(mp_fs_sparse("disk", UINT64_MAX, 0600, false, NULL, &err), -1);
  assert_true(mp_error_is(&err, MP_INVALID));
}

static void a_part_is_read_up_to_the_files_end(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_auto_buf mp_buf bytes = MP_BUF_INIT;
  put("file", "0123456789");
  assert_int_equal(mp_fs_read_at("file", 6, 100, &bytes, &err), 0);
  assert_int_equal(bytes.len, 4);
  assert_memory_equal(bytes.data, "6789", 4);
  assert_int_equal(mp_fs_read_at("file", 20, 5, &bytes, &err), 0);
  assert_int_equal(bytes.len, 4);
  assert_int_equal(mp_fs_read_at("none", 0, 5, &bytes, &err), -1);
  assert_true(mp_error_is(&err, "ENOENT"));
}

static void a_copy_can_be_larger_than_its_source(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  const mp_fs_copy_options options = {.mode = 0600, .size = 1 << 20};
  put("from", "content");
  assert_int_equal(mp_fs_copy("from", "to", &options, NULL, NULL, &err), 0);
  assert_int_equal(stat_of("to").st_size, 1 << 20);
  assert_bytes("to", 0, "content");
}

/* Whether it can is up to the file system that the test is on. */
static void a_copy_that_must_share_blocks_copies_none(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  const mp_fs_copy_options options = {.reflink_only = true};
  mp_fs_copied copied = {0};
  put("from", "content");
  if (mp_fs_copy("from", "to", &options, &copied, NULL, &err) == 0) {
    assert_string_equal(copied.method, "reflink");
    return;
  }
  assert_int_equal(access("to", F_OK), -1);
}

static void what_is_synced_must_be_there(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  put("file", "content");
  assert_int_equal(mp_fs_sync("file", true, &err), 0);
  assert_int_equal(mp_fs_sync("none", false, &err), -1);
  assert_true(mp_error_is(&err, "ENOENT"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_sparse_file_has_its_size_and_mode_and_takes_no_room),
      TEST(a_file_that_grows_keeps_its_bytes_and_mode),
      TEST(a_file_is_never_cut),
      TEST(a_link_in_a_sparse_files_place_is_not_followed),
      TEST(a_directory_is_no_sparse_file),
      TEST(a_size_that_no_file_can_have_leaves_none),
      TEST(a_part_is_read_up_to_the_files_end),
      TEST(a_copy_can_be_larger_than_its_source),
      TEST(a_copy_that_must_share_blocks_copies_none),
      TEST(what_is_synced_must_be_there),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
