/* What the tests of core/process share. Real children throughout: what a shell, cat and the kernel
 * make of them. */
#ifndef MP_TESTS_PROCESS_FIXTURE_H
#define MP_TESTS_PROCESS_FIXTURE_H

#include "unit.h"

#include "core/mem.h"
#include "core/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
  mp_loop loop;
  size_t fds;
} fixture;

static inline size_t count_fds(void) {
  size_t count = 0;
  DIR *dir = opendir("/proc/self/fd");
  while (readdir(dir))
    count++;
  closedir(dir);
  return count;
}

/* The first loop of a process leaves libuv's signal pipe open for good. */
static inline int warm_up(void **state) {
  mp_loop loop;
  mp_error err = MP_ERROR_INIT;
  (void)state;
  if (mp_loop_init(&loop, &err) < 0)
    return -1;
  mp_loop_close(&loop);
  return 0;
}

static inline int set_up(void **state) {
  static fixture self;
  mp_error err = MP_ERROR_INIT;
  self.fds = count_fds();
  *state = &self;
  return mp_loop_init(&self.loop, &err);
}

/* Each test must close what it opened: no handle on the loop, no descriptor, no child. */
static inline int tear_down(void **state) {
  fixture *self = *state;
  mp_loop_close(&self->loop);
  if (count_fds() != self->fds) {
    print_error("%zu descriptors at first, %zu at last\n", self->fds, count_fds());
    return -1;
  }
  /* Orphans come to us; one that goes on living ends the test here. */
  alarm(30);
  while (waitpid(-1, NULL, 0) > 0)
    continue;
  alarm(0);
  return 0;
}

#define PIPE ((mp_stdio){.kind = MP_STDIO_PIPE})

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SH(script, ...) ARGV("/bin/sh", "-c", script, "sh", ##__VA_ARGS__)

static inline int wait_for_orphan(const char *pid_text) {
  int status = -1;
  assert_int_equal(waitpid(atoi(pid_text), &status, 0), atoi(pid_text));
  return status;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
