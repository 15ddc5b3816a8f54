#include "unit.h"

#include "core/shim/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  char path[64];
  int dir;
  mp_shim_log log;
  mp_shim_stream out;
  mp_shim_stream err;
  char held[2][MP_SHIM_LINE_MAX];
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  strcpy(f->path, "/tmp/shim-log.XXXXXX");
  if (mkdtemp(f->path) == NULL)
    return -1;
  f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  f->out = (mp_shim_stream){.name = "stdout", .held = f->held[0]};
  f->err = (mp_shim_stream){.name = "stderr", .held = f->held[1]};
  f->log.fd = -1;
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  char name[32] = "log";
  mp_shim_log_close(&f->log);
  for (int i = 1; i < 300; i++) {
    unlinkat(f->dir, name, 0);
    snprintf(name, sizeof name, "log.%d", i);
  }
  close(f->dir);
  rmdir(f->path);
  free(f);
  return 0;
}

static void open_log(fixture *f, uint64_t max_size, unsigned max_files) {
  mp_shim_error err;
  assert_int_equal(mp_shim_log_open(&f->log, f->dir, "log", max_size, max_files, &err), 0);
}

/* The file without the timestamps: "stdout F line\n...". The caller frees. */
static char *records(fixture *f, const char *name) {
  int fd = openat(f->dir, name, O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  struct stat info;
  fstat(fd, &info);
  char *text = malloc((size_t)info.st_size + 1), *plain = malloc((size_t)info.st_size + 1);
  assert_int_equal(read(fd, text, (size_t)info.st_size), info.st_size);
  text[info.st_size] = '\0';
  close(fd);
  size_t used = 0;
  for (char *at = text; *at;) {
    char *newline = strchr(at, '\n');
    assert_non_null(newline);
    assert_true(newline - at > 31 && at[29] == 'Z' && at[30] == ' ');
    size_t len = (size_t)(newline - at) - 31 + 1;
    memcpy(plain + used, at + 31, len);
    used += len;
    at = newline + 1;
  }
  plain[used] = '\0';
  free(text);
  return plain;
}

static void assert_records(fixture *f, const char *name, const char *expected) {
  char *found = records(f, name);
  assert_string_equal(found, expected);
  free(found);
}

static void feed(fixture *f, mp_shim_stream *stream, const char *text) {
  mp_shim_log_feed(&f->log, stream, text, strlen(text));
}

static void lines_come_out_the_same_wherever_reads_cut_them(void **state) {
  fixture *f = *state;
  static const char text[] = "one\n\ntwo\r\nthree";
  static const char expected[] =
      "stdout F one\nstdout F \nstdout F two\r\nstdout F three\nstdout F end\n";
  for (size_t cut = 0; cut < sizeof text; cut++) {
    for (size_t second = cut; second < sizeof text; second++) {
      open_log(f, 1 << 20, 2);
      mp_shim_log_feed(&f->log, &f->out, text, cut);
      mp_shim_log_feed(&f->log, &f->out, text + cut, second - cut);
      mp_shim_log_feed(&f->log, &f->out, text + second, sizeof text - 1 - second);
      mp_shim_log_end(&f->log, &f->out);
      feed(f, &f->out, "end\n");
      assert_records(f, "log", expected);
      mp_shim_log_close(&f->log);
      unlinkat(f->dir, "log", 0);
    }
  }
}

static void streams_do_not_mix_within_a_line(void **state) {
  fixture *f = *state;
  open_log(f, 1 << 20, 2);
  feed(f, &f->out, "ou");
  feed(f, &f->err, "er");
  feed(f, &f->out, "t\n");
  feed(f, &f->err, "r\n");
  assert_records(f, "log", "stdout F out\nstderr F err\n");
}

static void a_long_line_is_cut_into_parts_that_add_up(void **state) {
  fixture *f = *state;
  static const size_t lengths[] = {MP_SHIM_LINE_MAX - 1, MP_SHIM_LINE_MAX, MP_SHIM_LINE_MAX + 1,
                                   2 * MP_SHIM_LINE_MAX, 100000};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    char *line = malloc(lengths[i] + 1);
    memset(line, 'a' + (int)i, lengths[i]);
    line[lengths[i]] = '\n';
    open_log(f, 1 << 20, 2);
    mp_shim_log_feed(&f->log, &f->out, line, lengths[i] + 1);
    char *found = records(f, "log");
    size_t sum = 0;
    for (char *at = found; *at;) {
      size_t len = strcspn(at, "\n") - strlen("stdout F ");
      bool last = strchr(at, '\n')[1] == '\0';
      assert_int_equal(at[7], last ? 'F' : 'P');
      assert_true(len <= MP_SHIM_LINE_MAX);
      sum += len;
      at = strchr(at, '\n') + 1;
    }
    assert_int_equal(sum, lengths[i]);
    free(found);
    free(line);
    mp_shim_log_close(&f->log);
    unlinkat(f->dir, "log", 0);
  }
}

static void rotation_keeps_order_size_and_count(void **state) {
  fixture *f = *state;
  open_log(f, 4096, 3);
  for (int i = 0; i < 1000; i++) {
    char line[32];
    snprintf(line, sizeof line, "line %04d\n", i);
    feed(f, &f->out, line);
  }
  struct stat info;
  assert_int_equal(fstatat(f->dir, "log.3", &info, 0), -1);
  int next = -1;
  for (int file = 2; file >= 0; file--) {
    char name[16];
    snprintf(name, sizeof name, file ? "log.%d" : "log", file);
    assert_int_equal(fstatat(f->dir, name, &info, 0), 0);
    assert_true(info.st_size <= 4096);
    char *found = records(f, name);
    for (char *at = found; *at; at = strchr(at, '\n') + 1) {
      int number = atoi(at + strlen("stdout F line "));
      assert_true(next < 0 || number == next);
      next = number + 1;
    }
    free(found);
  }
  assert_int_equal(next, 1000);
}

static void a_record_larger_than_the_limit_has_a_file_of_its_own(void **state) {
  fixture *f = *state;
  char *line = malloc(10001);
  memset(line, 'x', 10000);
  line[10000] = '\n';
  open_log(f, 4096, 3);
  feed(f, &f->out, "before\n");
  mp_shim_log_feed(&f->log, &f->out, line, 10001);
  feed(f, &f->out, "after\n");
  assert_records(f, "log.2", "stdout F before\n");
  assert_records(f, "log", "stdout F after\n");
  free(line);
}

static void one_file_means_starting_over(void **state) {
  fixture *f = *state;
  open_log(f, 4096, 1);
  for (int i = 0; i < 200; i++)
    feed(f, &f->out, "some line or other\n");
  struct stat info;
  assert_int_equal(fstatat(f->dir, "log", &info, 0), 0);
  assert_true(info.st_size > 0 && info.st_size <= 4096);
  assert_int_equal(fstatat(f->dir, "log.1", &info, 0), -1);
}

static void files_beyond_a_smaller_count_are_removed(void **state) {
  fixture *f = *state;
  for (int i = 1; i < 6; i++) {
    char name[16];
    snprintf(name, sizeof name, "log.%d", i);
    close(openat(f->dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  }
  open_log(f, 4096, 3);
  assert_int_equal(faccessat(f->dir, "log.2", F_OK, 0), 0);
  assert_int_equal(faccessat(f->dir, "log.3", F_OK, 0), -1);
  assert_int_equal(faccessat(f->dir, "log.5", F_OK, 0), -1);
}

/* A file size limit fails a write in the middle, like a full disk does. */
static void what_cannot_be_written_is_counted_and_told(void **state) {
  fixture *f = *state;
  struct rlimit before, small = {.rlim_cur = 1000};
  getrlimit(RLIMIT_FSIZE, &before);
  small.rlim_max = before.rlim_max;
  signal(SIGXFSZ, SIG_IGN);
  open_log(f, 1 << 20, 2);
  setrlimit(RLIMIT_FSIZE, &small);
  uint64_t kept = 0;
  for (int i = 0; i < 100; i++) {
    feed(f, &f->out, "ten bytes\n");
    kept += f->log.dropped_lines == 0;
  }
  assert_true(kept > 5 && kept < 50);
  assert_int_equal(f->log.dropped_lines, 100 - kept);
  assert_int_equal(f->log.dropped_bytes, (100 - kept) * 10);
  setrlimit(RLIMIT_FSIZE, &before);
  feed(f, &f->out, "again\n");
  char *found = records(f, "log"), told[128];
  snprintf(told, sizeof told, "stderr F moonport-shim: %d bytes of output (%d lines) are missing",
           (int)f->log.dropped_bytes, (int)f->log.dropped_lines);
  assert_non_null(strstr(found, told));
  assert_non_null(strstr(found, "stdout F again\n"));
  free(found);
  feed(f, &f->out, "more\n");
  found = records(f, "log");
  assert_null(strstr(strstr(found, "missing") + 1, "missing")); /* told once */
  free(found);
}

int main(void) {
#define log_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      log_test(lines_come_out_the_same_wherever_reads_cut_them),
      log_test(streams_do_not_mix_within_a_line),
      log_test(a_long_line_is_cut_into_parts_that_add_up),
      log_test(rotation_keeps_order_size_and_count),
      log_test(a_record_larger_than_the_limit_has_a_file_of_its_own),
      log_test(one_file_means_starting_over),
      log_test(files_beyond_a_smaller_count_are_removed),
      log_test(what_cannot_be_written_is_counted_and_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
