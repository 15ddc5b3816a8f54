/* The log: what a service writes arrives, rotates, and survives a full disk. */
#include "driver.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void both_streams_are_kept_apart(void **state) {
  shim *s = *state;
  size_t len;
  spec_shell(s, "echo out; echo err >&2; printf 'no newline'");
  shim_start_ok(s);
  wait_state(s, "\"exited\"");
  char *out = service_output(s, "stdout", &len);
  char *err = service_output(s, "stderr", &len);
  assert_string_equal(out, "out\nno newline\n");
  assert_string_equal(err, "err\n");
  free(out);
  free(err);
}

static void long_lines_and_binary_bytes_arrive_unchanged(void **state) {
  shim *s = *state;
  /* 100 KB of every byte value but newline, as one line, between two others. */
  size_t size = 102400, len;
  char *expected = malloc(size + 16), path[128];
  for (size_t i = 0; i < size; i++)
    expected[i] = (char)(i * 7 % 256 == '\n' ? 'n' : i * 7 % 256);
  expected[size] = '\n';
  snprintf(path, sizeof path, "%s/input", s->dir);
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  assert_int_equal(write(fd, expected, size + 1), size + 1);
  close(fd);
  spec_add(s, "arg=/bin/cat");
  spec_add(s, "arg=%s", path);
  shim_start_ok(s);
  wait_state(s, "\"exited\"");
  char *out = service_output(s, "stdout", &len);
  assert_int_equal(len, size + 1);
  assert_memory_equal(out, expected, len);
  free(out);
  free(expected);
}

/* A follower as simple as they come: reads to the end, and opens the new file when `log` is another
 * one. */
typedef struct {
  const shim *service;
  int fd;
  char *text;
  size_t len;
} follower;

static int open_log(const shim *s) {
  char path[128];
  snprintf(path, sizeof path, "%s/log", s->dir);
  return open(path, O_RDONLY | O_CLOEXEC);
}

static void read_to_end(follower *f) {
  ssize_t got;
  do {
    f->text = realloc(f->text, f->len + 4097);
    got = read(f->fd, f->text + f->len, 4096);
    f->len += got > 0 ? (size_t)got : 0;
  } while (got > 0);
  f->text[f->len] = '\0';
}

static bool follow(follower *f) {
  struct stat mine, newest;
  read_to_end(f);
  int fd = open_log(f->service);
  if (fd < 0)
    return false; /* between rename and create */
  fstat(f->fd, &mine);
  fstat(fd, &newest);
  if (mine.st_ino == newest.st_ino) {
    close(fd);
    return false;
  }
  read_to_end(f); /* what came before the rename */
  close(f->fd);
  f->fd = fd;
  read_to_end(f);
  return true;
}

static void a_follower_loses_nothing_over_rotations(void **state) {
  shim *s = *state;
  char fifo[128];
  snprintf(fifo, sizeof fifo, "%s/go", s->dir);
  assert_int_equal(mkfifo(fifo, 0600), 0);
  spec_shell(s, "i=0; exec <go; while read x; do n=$((i + 20)); while test $i -lt $n; do "
                "echo line $i; i=$((i + 1)); done; echo batch $x; done");
  spec_add(s, "cwd=%s", s->dir);
  spec_add(s, "log_max_size=4096");
  spec_add(s, "log_max_files=3");
  shim_start_ok(s);
  follower f = {.service = s, .fd = open_log(s)};
  int go = open(fifo, O_WRONLY | O_CLOEXEC);
  int rotations = 0;
  for (int batch = 0; batch < 40; batch++) {
    char text[32];
    int len = snprintf(text, sizeof text, "%d\n", batch);
    assert_int_equal(write(go, text, (size_t)len), len);
    snprintf(text, sizeof text, "batch %d\n", batch);
    wait_file(s, "log", text);
    rotations += follow(&f);
    assert_contains(f.text, text);
  }
  close(go);
  assert_true(rotations >= 5);
  const char *at = f.text;
  for (int i = 0; i < 800; i++) {
    char line[32];
    snprintf(line, sizeof line, " F line %d\n", i);
    at = strstr(at, line);
    assert_non_null(at);
    at += strlen(line);
  }
  close(f.fd);
  free(f.text);
  char path[128];
  snprintf(path, sizeof path, "%s/log.2", s->dir);
  assert_int_equal(access(path, F_OK), 0);
  snprintf(path, sizeof path, "%s/log.3", s->dir);
  assert_int_equal(access(path, F_OK), -1);
}

static void no_file_grows_past_the_limit(void **state) {
  shim *s = *state;
  spec_shell(s, "i=0; while test $i -lt 5000; do echo line $i; i=$((i + 1)); done");
  spec_add(s, "log_max_size=8192");
  spec_add(s, "log_max_files=100");
  shim_start_ok(s);
  wait_state(s, "\"exited\"");
  char path[128];
  struct stat info;
  int files = 0;
  for (; snprintf(path, sizeof path, "%s/log.%d", s->dir, files + 1) > 0 && stat(path, &info) == 0;
       files++)
    assert_in_range(info.st_size, 4096, 8192);
  assert_true(files > 20);
  size_t len;
  char *out = service_output(s, "stdout", &len), *at = out;
  for (int i = 0; i < 5000; i++) {
    assert_int_equal(strncmp(at, "line ", 5), 0);
    assert_int_equal(strtol(at + 5, &at, 10), i);
    at++;
  }
  free(out);
}

static void a_log_torn_by_a_crash_is_continued_on_a_new_line(void **state) {
  shim *s = *state;
  char path[128];
  snprintf(path, sizeof path, "%s/log", s->dir);
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  assert_int_equal(write(fd, "2016-10-06T00:17", 16), 16);
  close(fd);
  spec_shell(s, "echo after");
  shim_start_ok(s);
  wait_state(s, "\"exited\"");
  char *log = read_file(s, "log", NULL);
  assert_int_equal(strncmp(log, "2016-10-06T00:17\n2", 18), 0);
  assert_contains(log, "stdout F after\n");
  free(log);
}

/* ---- A full disk: a small tmpfs in a mount namespace of this process. */

static bool enter_mount_namespace(void) {
  return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int small_disk_setup(void **state) {
  if (shim_setup(state) < 0)
    return -1;
  shim *s = *state;
  if (mount("none", s->dir, "tmpfs", 0, "size=256k") < 0)
    return -1;
  return 0;
}

static int small_disk_teardown(void **state) {
  char dir[64];
  memcpy(dir, ((shim *)*state)->dir, sizeof dir);
  int result = shim_teardown(state);
  umount2(dir, MNT_DETACH);
  rmdir(dir);
  return result;
}

static void fill(const shim *s) {
  char path[128], block[1024] = {1};
  snprintf(path, sizeof path, "%s/filler", s->dir);
  int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  while (write(fd, block, sizeof block) > 0)
    continue;
  close(fd);
}

static void make_space(const shim *s) {
  char path[128];
  snprintf(path, sizeof path, "%s/filler", s->dir);
  unlink(path);
}

static void tell_fifo(int fd, const char *text) {
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void a_full_disk_drops_counts_and_recovers(void **state) {
  shim *s = *state;
  char go_path[128], ack_path[128], byte;
  snprintf(go_path, sizeof go_path, "%s/go", s->dir);
  snprintf(ack_path, sizeof ack_path, "%s/ack", s->dir);
  mkfifo(go_path, 0600);
  mkfifo(ack_path, 0600);
  /* Each word read is answered with 400 KB of output, then an acknowledgement. */
  spec_shell(s, "exec <go 4>ack; while read word; do head -c 400000 /dev/zero | tr '\\0' x; echo; "
                "echo word $word; echo >&4; done; exit 5");
  spec_add(s, "env=PATH=/bin:/usr/bin");
  spec_add(s, "cwd=%s", s->dir);
  spec_add(s, "log_max_size=65536");
  spec_add(s, "log_max_files=2");
  shim_start_ok(s);
  int go = open(go_path, O_WRONLY | O_CLOEXEC);
  int ack = open(ack_path, O_RDONLY | O_CLOEXEC);
  fill(s);
  tell_fifo(go, "one\n");
  assert_int_equal(read(ack, &byte, 1), 1); /* it was not blocked by the disk */
  shim_connect(s);
  assert_true(json_number(shim_ask(s, "status"), "dropped_bytes") > 300000);
  make_space(s);
  tell_fifo(go, "two\n");
  assert_int_equal(read(ack, &byte, 1), 1);
  wait_file(s, "log", "F word two");
  size_t len;
  char *err = service_output(s, "stderr", &len);
  (void)err; /* the note about the gap may be rotated away by the 400 KB behind it */
  free(err);
  fill(s);
  close(go); /* it exits: the record cannot be written, so the shim stays */
  shim_connect(s);
  assert_contains(shim_ask(s, "wait"), "\"code\":5");
  assert_true(is_alive(shim_pid(s)));
  pid_t pid = shim_pid(s);
  make_space(s);
  wait_state(s, "\"code\":5");
  wait_gone(pid);
  close(ack);
}

static void a_gap_is_told_where_it_is(void **state) {
  shim *s = *state;
  char fifo[128];
  snprintf(fifo, sizeof fifo, "%s/go", s->dir);
  mkfifo(fifo, 0600);
  spec_shell(s, "exec <go; while read word; do echo word $word; done");
  spec_add(s, "cwd=%s", s->dir);
  shim_start_ok(s);
  shim_connect(s);
  int go = open(fifo, O_WRONLY | O_CLOEXEC);
  fill(s);
  /* More than what is left of the log's last page. */
  for (int i = 0; i < 200; i++)
    tell_fifo(go, "lost\n");
  while (json_number(shim_ask(s, "status"), "dropped_lines") < 50)
    continue;
  make_space(s);
  tell_fifo(go, "found\n");
  wait_file(s, "log", "F word found");
  char *log = read_file(s, "log", NULL);
  assert_contains(log, "are missing here, the log could not be written: No space left on device\n");
  free(log);
  close(go);
  wait_state(s, "\"exited\"");
}

/* What an operator does on a full disk. */
static void a_log_emptied_from_outside_stays_whole_on_a_full_disk(void **state) {
  shim *s = *state;
  char go_path[128], log_path[128];
  size_t len;
  snprintf(go_path, sizeof go_path, "%s/go", s->dir);
  snprintf(log_path, sizeof log_path, "%s/log", s->dir);
  mkfifo(go_path, 0600);
  spec_shell(s, "exec <go; while read many; do seq $many; done");
  spec_add(s, "env=PATH=/bin:/usr/bin");
  spec_add(s, "cwd=%s", s->dir);
  shim_start_ok(s);
  shim_connect(s);
  int go = open(go_path, O_WRONLY | O_CLOEXEC);
  tell_fifo(go, "2000\n");
  wait_file(s, "log", "F 2000\n");
  fill(s);
  assert_int_equal(truncate(log_path, 0), 0);
  tell_fifo(go, "9000\n");
  while (json_number(shim_ask(s, "status"), "dropped_lines") == 0)
    continue;
  free(service_output(s, "stdout", &len)); /* nothing but whole records */
  char *log = read_file(s, "log", &len);
  assert_null(memchr(log, '\0', len));
  free(log);
  make_space(s);
  close(go);
  wait_state(s, "\"exited\"");
}

/* ---- A file that the service writes itself. */

static const char *bounded_path(const shim *s) {
  static char path[128];
  snprintf(path, sizeof path, "%s/events", s->dir);
  return path;
}

static void start_writer(shim *s, const char *script) {
  close(open(bounded_path(s), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  spec_add(s, "bounded_file=%s", bounded_path(s));
  spec_add(s, "cwd=%s", s->dir);
  spec_add(s, "env=PATH=/usr/bin:/bin");
  spec_shell(s, script);
  shim_start_ok(s);
}

/* Written as by a program that knows nothing of it: at its own place in the file. */
#define WRITER                                                                                     \
  "exec 3>events; i=0; while [ $i -lt 40 ]; do head -c 100000 /dev/zero | tr '\\0' x >&3; "        \
  "i=$((i+1)); done; echo the end >&3; "

static void a_bounded_file_is_made_smaller_while_it_is_written(void **state) {
  shim *s = *state;
  struct stat info;
  size_t len;
  start_writer(s, WRITER "echo written; exec sleep 1000");
  wait_file(s, "log", "written");
  shim_connect(s);
  do {
    shim_ask(s, "status");
    assert_int_equal(stat(bounded_path(s), &info), 0);
  } while (info.st_blocks * 512 > 1024 * 1024);
  assert_int_equal(info.st_size, 40 * 100000 + 8);
  char *text = read_file(s, "events", &len);
  assert_memory_equal(text + len - 8, "the end\n", 8);
  assert_int_equal(text[len - 500 * 1024], 'x');
  free(text);
}

static void a_bounded_file_is_small_after_the_end(void **state) {
  shim *s = *state;
  struct stat info;
  start_writer(s, WRITER);
  wait_state(s, "\"exited\"");
  wait_gone((pid_t)json_number(strstr(state_file(s), "\"shim\""), "pid"));
  assert_int_equal(stat(bounded_path(s), &info), 0);
  assert_int_equal(info.st_size, 40 * 100000 + 8);
  assert_true(info.st_blocks * 512 <= 1024 * 1024);
}

static void a_bounded_file_must_be_one(void **state) {
  shim *s = *state;
  assert_int_equal(symlink("/etc/passwd", bounded_path(s)), 0);
  spec_add(s, "bounded_file=%s", bounded_path(s));
  spec_shell(s, "exit 0");
  shim_start(s, NULL);
  assert_contains(s->ready, "error ELOOP could not open");
}

/* ---- Outputs that have names. */

static void outputs_with_names_are_opened_by_them_in_each_run(void **state) {
  shim *s = *state;
  char path[128];
  size_t len;
  snprintf(path, sizeof path, "%s/stdout", s->dir);
  assert_int_equal(symlink("/etc/passwd", path), 0); /* is replaced, not followed */
  spec_add(s, "output_pipes=%s", s->dir);
  spec_add(s, "cwd=%s", s->dir);
  spec_add(s, "restart=on-failure");
  spec_add(s, "restart_max=1");
  spec_add(s, "backoff_initial_ms=1");
  spec_shell(s, "echo to one >stdout; echo to the other >stderr; exit 1");
  shim_start_ok(s);
  wait_state(s, "\"failed\"");
  char *out = service_output(s, "stdout", &len);
  char *err = service_output(s, "stderr", &len);
  assert_string_equal(out, "to one\nto one\n");
  assert_string_equal(err, "to the other\nto the other\n");
  free(out);
  free(err);
}

static void outputs_with_names_need_a_directory(void **state) {
  shim *s = *state;
  spec_add(s, "output_pipes=%s/none", s->dir);
  spec_shell(s, "exit 0");
  shim_start(s, NULL);
  assert_contains(s->ready, "error ENOENT could not make the pipe");
}

static int run(void) {
#define shim_test(name) cmocka_unit_test_setup_teardown(name, shim_setup, shim_teardown)
#define disk_test(name) cmocka_unit_test_setup_teardown(name, small_disk_setup, small_disk_teardown)
  const struct CMUnitTest tests[] = {
      shim_test(both_streams_are_kept_apart),
      shim_test(long_lines_and_binary_bytes_arrive_unchanged),
      shim_test(a_follower_loses_nothing_over_rotations),
      shim_test(no_file_grows_past_the_limit),
      shim_test(a_log_torn_by_a_crash_is_continued_on_a_new_line),
      shim_test(a_bounded_file_is_made_smaller_while_it_is_written),
      shim_test(a_bounded_file_is_small_after_the_end),
      shim_test(a_bounded_file_must_be_one),
      shim_test(outputs_with_names_are_opened_by_them_in_each_run),
      shim_test(outputs_with_names_need_a_directory),
  };
  const struct CMUnitTest disk_tests[] = {
      disk_test(a_full_disk_drops_counts_and_recovers),
      disk_test(a_gap_is_told_where_it_is),
      disk_test(a_log_emptied_from_outside_stays_whole_on_a_full_disk),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  if (enter_mount_namespace())
    failed += cmocka_run_group_tests(disk_tests, NULL, NULL);
  else
    print_message("the full-disk tests need the right to mount: not run\n");
  return failed;
}

int main(int argc, char **argv) {
  return driver_main(argc, argv, run);
}
