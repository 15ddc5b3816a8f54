/* moonport-shim on cgroup v2 with all controllers: runs in the test guest, as its root. */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"
#define SERVICE ROOT "/service"

static void write_to(const char *file, const char *text) {
  int fd = open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) < 0)
    fail_msg("could not write `%s` to %s: %s", text, file, strerror(errno));
  close(fd);
}

static void make_cgroup(const char *path) {
  if (mkdir(path, 0755) < 0)
    fail_msg("could not make %s: %s", path, strerror(errno));
}

/* A cgroup can be removed only when it is empty, so this also checks that nothing is left in it. */
static void remove_cgroup(const char *path) {
  if (rmdir(path) < 0)
    fail_msg("could not remove %s: %s", path, strerror(errno));
}

static int setup(void **state) {
  make_cgroup(SERVICE);
  return shim_setup(state);
}

static int teardown(void **state) {
  int failed = shim_teardown(state);
  remove_cgroup(SERVICE);
  return failed;
}

static void in_service_cgroup(shim *s, const char *script) {
  spec_shell(s, script);
  spec_add(s, "env=PATH=/bin");
  spec_add(s, "cgroup=%s", SERVICE);
}

/* Touches 64 MiB of memory, against a limit of 16. */
#define DEVOUR "exec dd if=/dev/zero of=/dev/null bs=64M count=1"

static void an_out_of_memory_kill_is_recorded_with_its_peak(void **state) {
  shim *s = *state;
  write_to(SERVICE "/memory.max", "16777216");
  in_service_cgroup(s, DEVOUR);
  shim_start_ok(s);
  const char *record = wait_state(s, "\"failed\"");
  assert_contains(record, "\"code\":null,\"signal\":\"KILL\",\"oom\":true");
  assert_in_range(json_number(record, "peak_memory"), 12 << 20, 16 << 20);
}

static void only_the_run_that_was_killed_for_memory_says_so(void **state) {
  shim *s = *state;
  write_to(SERVICE "/memory.max", "16777216");
  in_service_cgroup(s, "echo run; [ -e /tmp/second ] && kill -KILL $$; : >/tmp/second; " DEVOUR);
  spec_add(s, "restart=on-failure");
  spec_add(s, "restart_max=1");
  spec_add(s, "backoff_initial_ms=10");
  shim_start_ok(s);
  const char *record = wait_state(s, "\"gave-up\"");
  assert_contains(record, "\"signal\":\"KILL\",\"oom\":false");
  assert_int_equal(json_number(record, "restarts"), 1);
  unlink("/tmp/second");
}

static void a_stop_ends_what_forks_faster_than_it_can_be_signalled(void **state) {
  shim *s = *state;
  write_to(SERVICE "/pids.max", "200");
  in_service_cgroup(s, "trap '' TERM; echo begun; "
                       "while :; do (setsid sleep 1000 &) 2>/dev/null; done");
  shim_start_ok(s);
  wait_file(s, "log", "begun");
  shim_connect(s);
  assert_contains(shim_ask(s, "stop grace_ms=50"), "\"signal\":\"KILL\",\"oom\":false");
}

static void a_stop_ends_a_frozen_service(void **state) {
  shim *s = *state;
  in_service_cgroup(s, "echo begun; sleep 1000");
  shim_start_ok(s);
  wait_file(s, "log", "begun");
  write_to(SERVICE "/cgroup.freeze", "1");
  shim_connect(s);
  assert_contains(shim_ask(s, "stop grace_ms=50"), "\"signal\":");
}

static void the_limits_of_the_cgroup_hold_for_the_service(void **state) {
  shim *s = *state;
  write_to(SERVICE "/cpu.max", "50000 100000");
  write_to(SERVICE "/pids.max", "1");
  in_service_cgroup(s, "until [ \"$throttled\" ]; do\n"
                       "  while read -r key value; do\n"
                       "    [ $key = nr_throttled ] && [ $value -gt 0 ] && throttled=yes\n"
                       "  done <" SERVICE "/cpu.stat\n"
                       "done\n"
                       "echo throttled\n"
                       "sleep 0 2>&1\n" /* a fork: pids.max is 1 */
                       "echo forked");
  shim_start_ok(s);
  wait_file(s, "log", "throttled");
  wait_state(s, "\"failed\"");
  wait_file(s, "log", "ork"); /* dash: Cannot fork */
  size_t len;
  char *out = service_output(s, "stdout", &len);
  assert_null(strstr(out, "forked"));
  free(out);
}

static void an_operator_who_is_not_root_supervises_in_a_delegated_subtree(void **state) {
  static const char *const delegated[] = {"", "/cgroup.procs", "/cgroup.subtree_control"};
  shim *s = *state;
  char path[128];
  make_cgroup(ROOT "/user");
  for (size_t i = 0; i < sizeof delegated / sizeof *delegated; i++) {
    snprintf(path, sizeof path, "%s%s", ROOT "/user", delegated[i]);
    assert_int_equal(chown(path, 1000, 1000), 0);
  }
  assert_int_equal(chown(s->dir, 1000, 1000), 0);
  make_cgroup(ROOT "/user/own");
  write_to(ROOT "/user/own/cgroup.procs", "0");
  /* From here on as that user: the saved id leads back, and the shim's exec drops it. */
  assert_int_equal(setresgid(1000, 1000, 0), 0);
  assert_int_equal(setresuid(1000, 1000, 0), 0);
  make_cgroup(ROOT "/user/service");
  write_to(ROOT "/user/cgroup.subtree_control", "+memory");
  write_to(ROOT "/user/service/memory.max", "16777216");

  spec_shell(s, DEVOUR);
  spec_add(s, "env=PATH=/bin");
  spec_add(s, "cgroup=%s", ROOT "/user/service");
  shim_start_ok(s);
  assert_contains(wait_state(s, "\"failed\""), "\"signal\":\"KILL\",\"oom\":true");
  remove_cgroup(ROOT "/user/service");

  assert_int_equal(setresuid(0, 0, 0), 0);
  assert_int_equal(setresgid(0, 0, 0), 0);
  write_to(ROOT "/cgroup.procs", "0");
  write_to(ROOT "/user/cgroup.subtree_control", "-memory");
  remove_cgroup(ROOT "/user/own");
  remove_cgroup(ROOT "/user");
}

static int run(void) {
#define v2_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      v2_test(an_out_of_memory_kill_is_recorded_with_its_peak),
      v2_test(only_the_run_that_was_killed_for_memory_says_so),
      v2_test(a_stop_ends_what_forks_faster_than_it_can_be_signalled),
      v2_test(a_stop_ends_a_frozen_service),
      v2_test(the_limits_of_the_cgroup_hold_for_the_service),
      v2_test(an_operator_who_is_not_root_supervises_in_a_delegated_subtree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return driver_main(argc, argv, run);
}
