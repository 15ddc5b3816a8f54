#include "unit.h"

#include "core/identity.h"
#include "core/sysinfo.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start_sleeper(void) {
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_NAME, "a) Z 1 2 (b"); /* hostile to those who parse /proc/PID/stat */
    for (;;)
      pause();
  }
  return pid;
}

static void the_very_process_is_signalled(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_identity who;
  int status;
  pid_t pid = start_sleeper();
  assert_int_equal(mp_identity_of(pid, &who, &err), 0);
  assert_true(mp_identity_is_alive(&who));
  assert_int_equal(mp_identity_signal(&who, SIGTERM, &err), 0);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(WTERMSIG(status), SIGTERM);
  assert_false(mp_identity_is_alive(&who));
  assert_int_equal(mp_identity_signal(&who, SIGTERM, &err), -1);
  assert_string_equal(err.code, "ESRCH");
  mp_error_reset(&err);
}

static void assert_untouched(const mp_identity *wrong, pid_t pid) {
  mp_error err = MP_ERROR_INIT;
  assert_false(mp_identity_is_alive(wrong));
  assert_int_equal(mp_identity_signal(wrong, SIGKILL, &err), -1);
  assert_string_equal(err.code, "ESRCH");
  assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
  mp_error_reset(&err);
}

static void a_recycled_pid_is_not_signalled(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_identity who, wrong;
  pid_t pid = start_sleeper();
  assert_int_equal(mp_identity_of(pid, &who, &err), 0);
  wrong = who;
  wrong.start_ticks -= 1;
  assert_untouched(&wrong, pid);
  wrong = who;
  wrong.boot_id[0] = wrong.boot_id[0] == '0' ? '1' : '0';
  assert_untouched(&wrong, pid);
  assert_int_equal(mp_identity_signal(&who, SIGKILL, &err), 0);
  waitpid(pid, NULL, 0);
}

static void a_zombie_is_not_alive(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_identity who;
  siginfo_t info;
  int fd;
  pid_t pid = start_sleeper();
  assert_int_equal(mp_identity_of(pid, &who, &err), 0);
  kill(pid, SIGKILL);
  waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
  assert_false(mp_identity_is_alive(&who));
  assert_int_equal(mp_identity_open(&who, &fd, &err), -1);
  assert_string_equal(err.code, "ESRCH");
  mp_error_reset(&err);
  waitpid(pid, NULL, 0);
}

static void pids_that_are_none_are_refused(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_identity who;
  assert_int_equal(mp_identity_of(0, &who, &err), -1);
  assert_true(mp_error_is(&err, MP_INVALID));
  assert_int_equal(mp_identity_of(-1, &who, &err), -1);
  who = (mp_identity){0};
  assert_int_equal(mp_identity_signal(&who, SIGKILL, &err), -1); /* would be our whole group */
  assert_string_equal(err.code, "ESRCH");
  mp_error_reset(&err);
}

static void capabilities_go_by_name(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  uint64_t have;
  assert_int_equal(mp_sys_capability_number("CAP_NET_ADMIN"), 12);
  assert_int_equal(mp_sys_capability_number("net_admin"), 12);
  assert_int_equal(mp_sys_capability_number("fly"), -1);
  assert_string_equal(mp_sys_capability_name(0), "CAP_CHOWN");
  assert_null(mp_sys_capability_name(64));
  assert_int_equal(mp_sys_capabilities(&have, &err), 0);
  if (geteuid() != 0)
    assert_int_equal(have, 0);
}

static void signals_go_by_name_and_number(void **state) {
  (void)state;
  assert_int_equal(mp_sys_signal_number("SIGTERM"), SIGTERM);
  assert_int_equal(mp_sys_signal_number("kill"), SIGKILL);
  assert_int_equal(mp_sys_signal_number("9"), 9);
  assert_int_equal(mp_sys_signal_number("9x"), 0);
  assert_int_equal(mp_sys_signal_number("SIG"), 0);
  assert_string_equal(mp_sys_signal_name(SIGHUP), "SIGHUP");
  assert_null(mp_sys_signal_name(0));
}

static void the_machine_has_processors_and_memory(void **state) {
  (void)state;
  mp_error err = MP_ERROR_INIT;
  mp_sys_memory memory;
  assert_true(mp_sys_cpus() >= 1);
  assert_int_equal(mp_sys_cpus(), sysconf(_SC_NPROCESSORS_ONLN));
  assert_int_equal(mp_sys_read_memory(&memory, &err), 0);
  assert_true(memory.available <= memory.total);
  assert_true(mp_sys_uptime() > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_very_process_is_signalled),
      cmocka_unit_test(a_recycled_pid_is_not_signalled),
      cmocka_unit_test(a_zombie_is_not_alive),
      cmocka_unit_test(pids_that_are_none_are_refused),
      cmocka_unit_test(capabilities_go_by_name),
      cmocka_unit_test(signals_go_by_name_and_number),
      cmocka_unit_test(the_machine_has_processors_and_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
