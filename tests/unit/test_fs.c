#include "fs_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_content(const char *path, const char *text) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_auto_buf mp_buf content = MP_BUF_INIT;
  assert_int_equal(mp_fs_read(path, 1 << 20, &content, &err), 0);
  assert_string_equal(content.data, text);
}

static mode_t mode_of(const char *path) {
  return stat_of(path).st_mode & 07777;
}

static size_t count_in(const char *path) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_fs_entries entries;
  assert_int_equal(mp_fs_list(path, &entries, &err), 0);
  size_t count = entries.count;
  mp_fs_entries_free(&entries);
  return count;
}

static void a_write_replaces_whole_and_leaves_nothing_else(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  put("file", "old");
  int old = open("file", O_RDONLY);
  put("file", "new content");
  char kept[4] = {0};
  assert_int_equal(read(old, kept, 3), 3);
  close(old);
  assert_string_equal(kept, "old"); /* who reads the old file goes on reading it */
  assert_content("file", "new content");
  assert_int_equal(count_in("."), 1);
  mp_fs_write_options options = {.exclusive = true};
  assert_int_equal(mp_fs_write("file", "x", 1, &options, &err), -1);
  assert_true(mp_error_is(&err, "EEXIST"));
  assert_content("file", "new content");
  assert_int_equal(count_in("."), 1);
  assert_int_equal(mp_fs_write("none/file", "x", 1, NULL, &err), -1);
  assert_true(mp_error_is(&err, "ENOENT"));
}

static void modes_are_exact_and_survive_a_rewrite(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_fs_write_options options = {.mode = 0666};
  put("plain", "x");
  assert_int_equal(mode_of("plain"), 0644);
  assert_int_equal(mp_fs_write("wide", "x", 1, &options, &err), 0);
  assert_int_equal(mode_of("wide"), 0666);
  options.mode = 0600;
  assert_int_equal(mp_fs_write("plain", "x", 1, &options, &err), 0);
  put("plain", "again");
  assert_int_equal(mode_of("plain"), 0600);
  assert_int_equal(mp_fs_mkdirs("a/b/c", 0777, &err), 0);
  assert_int_equal(mode_of("a/b"), 0777);
  assert_int_equal(mp_fs_mkdirs("a/b/c", 0700, &err), 0);
  assert_int_equal(mode_of("a/b/c"), 0777);
  assert_int_equal(mp_fs_mkdirs("plain/x", 0700, &err), -1);
  assert_true(mp_error_is(&err, "ENOTDIR"));
}

/* Runs `work` in a child as an account that permissions hold for; its result comes back. */
static int as_nobody(int (*work)(void)) {
  pid_t pid = fork();
  if (pid == 0) {
    if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
      _exit(98);
    _exit(work());
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

/* Puts a link in the place of every directory `new` as soon as it is made, as whoever owns the
 * directory around it could. */
static pid_t start_swapping(const char *target) {
  pid_t pid = fork();
  while (pid == 0) {
    unlink("new");
    rmdir("link");
    (void)!symlink(target, "link");
    while (renameat2(AT_FDCWD, "new", AT_FDCWD, "link", RENAME_EXCHANGE) < 0)
      continue;
  }
  return pid;
}

static void making_directories_changes_no_mode_through_a_link(void **state) {
  (void)state;
  put("target", "x");
  assert_int_equal(chmod("target", 0600), 0);
  pid_t swapping = start_swapping("target");
  for (int i = 0; i < 2000 && mode_of("target") == 0600; i++) {
    mp_auto_error mp_error err = MP_ERROR_INIT;
    mp_fs_mkdirs("new", 0755, &err);
  }
  kill(swapping, SIGKILL);
  waitpid(swapping, NULL, 0);
  assert_int_equal(mode_of("target"), 0600);
}

static void a_symbolic_link_is_replaced_not_written_through(void **state) {
  (void)state;
  put("target", "untouched");
  assert_int_equal(symlink("target", "link"), 0);
  put("link", "mine");
  assert_content("target", "untouched");
  assert_content("link", "mine");
}

static void reading_has_a_limit_and_refuses_to_wait(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_auto_buf mp_buf content = MP_BUF_INIT;
  put("file", "12345");
  mp_buf_puts(&content, "before ");
  assert_int_equal(mp_fs_read("file", 4, &content, &err), -1);
  assert_true(mp_error_is(&err, MP_LIMIT));
  assert_string_equal(content.data, "before ");
  assert_int_equal(mp_fs_read("file", 5, &content, &err), 0);
  assert_string_equal(content.data, "before 12345");
  assert_int_equal(mkfifo("fifo", 0600), 0);
  assert_int_equal(mp_fs_read("fifo", 5, &content, &err), -1);
  assert_true(mp_error_is(&err, MP_INVALID));
  assert_int_equal(mp_fs_read(".", 5, &content, &err), -1);
  assert_true(mp_error_is(&err, "EISDIR"));
  assert_int_equal(mp_fs_read("/proc/self/stat", 1 << 16, &content, &err), 0);
}

static void a_tree_goes_whole_but_nothing_outside_of_it(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_fs_mkdirs("outside", 0700, &err), 0);
  put("outside/kept", "x");
  assert_int_equal(mp_fs_mkdirs("tree/a/b", 0700, &err), 0);
  put("tree/a/file", "x");
  assert_int_equal(symlink("../../outside", "tree/a/link"), 0);
  assert_int_equal(symlink("/", "tree/root"), 0);
  assert_int_equal(chmod("tree/a", 0), 0);
  assert_int_equal(mp_fs_remove_tree("tree", false, NULL, &err), 0);
  assert_int_equal(access("tree", F_OK), -1);
  assert_content("outside/kept", "x");
  assert_int_equal(mp_fs_remove_tree("tree", false, NULL, &err), 0);
  assert_int_equal(symlink("outside", "link"), 0);
  assert_int_equal(mp_fs_remove_tree("link", false, NULL, &err), 0);
  assert_content("outside/kept", "x");
  assert_int_equal(mp_fs_remove_tree("/", false, NULL, &err), -1);
  assert_true(mp_error_is(&err, MP_INVALID));
}

static int remove_from_a_closed_directory(void) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  if (mkdir("open/closed", 0700) < 0 || mkdir("open/closed/tree", 0700) < 0 ||
      symlink("x", "open/closed/link") < 0 || chmod("open/closed", 0500) < 0)
    return 1;
  if (mp_fs_remove_tree("open/closed/tree", false, NULL, &err) == 0 || !mp_error_is(&err, "EACCES"))
    return 2;
  if (mp_fs_remove_tree("open/closed/link", false, NULL, &err) == 0 || !mp_error_is(&err, "EACCES"))
    return 3;
  return mode_of("open/closed") == 0500 ? 0 : 4;
}

static void removal_does_not_open_up_the_directory_around_the_tree(void **state) {
  (void)state;
  assert_int_equal(chmod(".", 0755), 0);
  assert_int_equal(mkdir("open", 0700), 0);
  assert_int_equal(chmod("open", 0777), 0);
  assert_int_equal(as_nobody(remove_from_a_closed_directory), 0);
}

static void depth_is_no_limit_to_removal(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  int dir = open(".", O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 2000; i++) {
    assert_int_equal(mkdirat(dir, "deep", 0700), 0);
    int next = openat(dir, "deep", O_RDONLY | O_DIRECTORY);
    close(dir);
    dir = next;
  }
  close(dir);
  assert_int_equal(mp_fs_remove_tree("deep", false, NULL, &err), 0);
  assert_int_equal(count_in("."), 0);
}

static void removal_does_not_enter_a_mount(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_fs_mkdirs("tree/mnt", 0700, &err), 0);
  assert_int_equal(mp_fs_mkdirs("outside", 0700, &err), 0);
  put("outside/kept", "x");
  if (mount("outside", "tree/mnt", NULL, MS_BIND, NULL) < 0)
    skip();
  int rc = mp_fs_remove_tree("tree", false, NULL, &err);
  umount("tree/mnt");
  assert_int_equal(rc, -1);
  assert_true(mp_error_is(&err, "EXDEV"));
  assert_non_null(err.hint);
  assert_content("outside/kept", "x");
}

static void long_work_stops_when_told(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  atomic_bool stop = true;
  assert_int_equal(mp_fs_mkdirs("tree/a", 0700, &err), 0);
  put("file", "x");
  assert_int_equal(mp_fs_remove_tree("tree", false, &stop, &err), -1);
  assert_true(mp_error_is(&err, MP_CANCELLED));
  assert_int_equal(mp_fs_copy("/proc/self/maps", "copy", NULL, NULL, &stop, &err), -1);
  assert_true(mp_error_is(&err, MP_CANCELLED));
  assert_int_equal(count_in("."), 2);
}

static void a_copy_keeps_content_mode_and_holes(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_fs_copied done;
  struct stat st;
  int fd = open("sparse", O_RDWR | O_CREAT, 0640);
  assert_int_equal(pwrite(fd, "begin", 5, 0), 5);
  assert_int_equal(pwrite(fd, "middle", 6, 32 << 20), 6);
  assert_int_equal(ftruncate(fd, 64 << 20), 0);
  assert_int_equal(mp_fs_copy("sparse", "copy", NULL, &done, NULL, &err), 0);
  assert_int_equal(stat("copy", &st), 0);
  assert_int_equal(st.st_size, 64 << 20);
  assert_true(st.st_blocks * 512 < 4 << 20);
  assert_int_equal(st.st_mode & 0777, 0640);
  assert_true(done.bytes < 4 << 20);
  int copied = open("copy", O_RDONLY);
  char block[6];
  assert_int_equal(pread(copied, block, 6, 32 << 20), 6);
  assert_memory_equal(block, "middle", 6);
  close(copied);
  close(fd);
}

static void a_copy_of_a_kernel_file_has_its_content(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  /* One says that it has 0 bytes, the other 4096. */
  static const char *const files[] = {"/proc/version", "/sys/class/net/lo/mtu"};
  for (size_t i = 0; i < 2; i++) {
    mp_auto_buf mp_buf expected = MP_BUF_INIT, found = MP_BUF_INIT;
    assert_int_equal(mp_fs_copy(files[i], "copy", NULL, NULL, NULL, &err), 0);
    assert_int_equal(mp_fs_read(files[i], 1 << 16, &expected, &err), 0);
    assert_int_equal(mp_fs_read("copy", 1 << 16, &found, &err), 0);
    assert_int_equal(found.len, expected.len);
    assert_string_equal(found.data, expected.data);
  }
  mp_fs_copy_options options = {.exclusive = true};
  assert_int_equal(mp_fs_copy("/proc/version", "copy", &options, NULL, NULL, &err), -1);
  assert_true(mp_error_is(&err, "EEXIST"));
}

static void lists_are_sorted_and_know_types(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_fs_entries entries;
  put("b", "");
  assert_int_equal(mkdir("c", 0700), 0);
  assert_int_equal(symlink("c", "a"), 0);
  assert_int_equal(mp_fs_list(".", &entries, &err), 0);
  const char *expected[][2] = {{"a", "link"}, {"b", "file"}, {"c", "directory"}};
  assert_int_equal(entries.count, 3);
  for (size_t i = 0; i < 3; i++) {
    assert_string_equal(entries.items[i].name, expected[i][0]);
    assert_string_equal(entries.items[i].type, expected[i][1]);
  }
  mp_fs_entries_free(&entries);
}

static void a_link_can_be_replaced_but_nothing_else(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  put("file", "x");
  assert_int_equal(mp_fs_symlink("one", "link", true, &err), 0);
  assert_int_equal(mp_fs_symlink("two", "link", false, &err), -1);
  assert_int_equal(mp_fs_symlink("two", "link", true, &err), 0);
  mp_auto_free char *target = mp_fs_readlink("link", &err);
  assert_string_equal(target, "two");
  assert_int_equal(mp_fs_symlink("two", "file", true, &err), -1);
  assert_true(mp_error_is(&err, "EEXIST"));
  assert_content("file", "x");
}

static void assert_untrusted(const char *path, const char *culprit) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_fs_trusted(path, &err), -1);
  assert_true(mp_error_is(&err, MP_FS_UNTRUSTED));
  mp_auto_free char *quoted = mp_sprintf("%s`", culprit);
  assert_non_null(strstr(err.message, quoted));
}

static void what_others_could_change_is_not_trusted(void **state) {
  const char *dir = *state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_auto_free char *file = mp_sprintf("%s/site/hooks.lua", dir);
  assert_int_equal(mp_fs_mkdirs("site", 0755, &err), 0);
  put("site/hooks.lua", "x");
  /* The way leads through /tmp, which all can write to, but it is sticky. */
  assert_int_equal(mp_fs_trusted(file, &err), 0);
  assert_int_equal(mp_fs_trusted("site/hooks.lua", &err), 0);
  assert_int_equal(chmod("site/hooks.lua", 0646), 0);
  assert_untrusted(file, "hooks.lua");
  assert_int_equal(chmod("site/hooks.lua", 0644), 0);
  assert_int_equal(chmod("site", 0777), 0);
  assert_untrusted(file, "site");
  assert_int_equal(chmod("site", 0755), 0);
  if (geteuid() == 0) {
    assert_int_equal(chown("site", 0, 12345), 0);
    assert_int_equal(chmod("site", 0775), 0);
    assert_untrusted(file, "site");
    assert_int_equal(chmod("site", 0755), 0);
    assert_int_equal(chown("site", 12345, 0), 0);
    assert_untrusted(file, "site");
    assert_int_equal(chown("site", 0, 0), 0);
  }
  assert_int_equal(mp_fs_trusted(file, &err), 0);
}

static void a_link_is_only_as_good_as_where_it_leads(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_fs_mkdirs("open/inner", 0777, &err), 0);
  put("open/inner/file", "x");
  assert_int_equal(symlink("open/inner", "link"), 0);
  assert_untrusted("link/file", "open");
  assert_int_equal(chmod("open", 0755), 0);
  assert_int_equal(chmod("open/inner", 0755), 0);
  assert_int_equal(mp_fs_trusted("link/file", &err), 0);
  assert_int_equal(symlink("loop", "loop"), 0);
  assert_int_equal(mp_fs_trusted("loop", &err), -1);
}

static void temporary_files_are_private_and_new(void **state) {
  (void)state;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_auto_free char *dir = mp_fs_temp_dir(".", "mp-", &err);
  mp_auto_free char *file = mp_fs_temp_file(dir, "mp-", &err);
  assert_int_equal(mode_of(dir), 0700);
  assert_int_equal(mode_of(file), 0600);
}

#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      FS_TEST(a_write_replaces_whole_and_leaves_nothing_else),
      FS_TEST(modes_are_exact_and_survive_a_rewrite),
      FS_TEST(making_directories_changes_no_mode_through_a_link),
      FS_TEST(a_symbolic_link_is_replaced_not_written_through),
      FS_TEST(reading_has_a_limit_and_refuses_to_wait),
      FS_TEST(a_tree_goes_whole_but_nothing_outside_of_it),
      FS_TEST(removal_does_not_open_up_the_directory_around_the_tree),
      FS_TEST(depth_is_no_limit_to_removal),
      FS_TEST(removal_does_not_enter_a_mount),
      FS_TEST(long_work_stops_when_told),
      FS_TEST(a_copy_keeps_content_mode_and_holes),
      FS_TEST(a_copy_of_a_kernel_file_has_its_content),
      FS_TEST(lists_are_sorted_and_know_types),
      FS_TEST(a_link_can_be_replaced_but_nothing_else),
      FS_TEST(what_others_could_change_is_not_trusted),
      FS_TEST(a_link_is_only_as_good_as_where_it_leads),
      FS_TEST(temporary_files_are_private_and_new),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
