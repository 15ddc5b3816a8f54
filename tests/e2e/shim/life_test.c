/* Starts, ends, restarts and stops. */
#include "driver.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The pid that the service wrote to the file `name`, complete with its newline. */
static pid_t written_pid(shim *s, const char *name) {
  wait_file(s, name, "\n");
  char *text = read_file(s, name, NULL);
  pid_t pid = (pid_t)atoi(text);
  free(text);
  assert_true(pid > 1);
  return pid;
}

/* ---- Starting. */

static void a_started_service_is_recorded_as_running(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  pid_t pid = service_pid(s);
  assert_int_equal(atoi(s->ready + 3), pid);
  const char *record = state_file(s);
  assert_contains(record, "\"state\":\"running\"");
  assert_contains(record, "\"wanted\":\"up\"");
  assert_contains(record, "\"name\":\"test\"");
  assert_int_equal(json_number(strstr(record, "\"service\""), "pid"), pid);
  assert_true(json_number(strstr(record, "\"service\""), "start_time") > 0);
}

static void the_environment_is_exactly_that_of_the_spec(void **state) {
  shim *s = *state;
  static const char hostile[] = "env=X=a\nb\t$(touch /tmp/no);'\"`\\ \xff\xc3\xa9=";
  static const char expected[] = "A=1\0X=a\nb\t$(touch /tmp/no);'\"`\\ \xff\xc3\xa9=\0EMPTY=";
  setenv("MP_LEAKED", "secret", 1);
  sleeper(s);
  spec_add(s, "env=A=1");
  spec_add_bytes(s, hostile, sizeof hostile - 1);
  spec_add(s, "env=EMPTY=");
  shim_start_ok(s);
  char path[64], environment[512];
  snprintf(path, sizeof path, "/proc/%d/environ", (int)service_pid(s));
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t len = read(fd, environment, sizeof environment);
  close(fd);
  assert_int_equal(len, sizeof expected);
  assert_memory_equal(environment, expected, sizeof expected);
}

static void a_value_of_100_kb_arrives_whole(void **state) {
  shim *s = *state;
  size_t len = 100 * 1024;
  char *record = malloc(len + 6);
  memcpy(record, "env=V=", 6);
  memset(record + 6, 'x', len);
  spec_shell(s, "printf '%s' ${#V}");
  spec_add_bytes(s, record, len + 6);
  free(record);
  shim_start_ok(s);
  wait_state(s, "\"exited\"");
  char *out = service_output(s, "stdout", &len);
  assert_string_equal(out, "102400\n");
  free(out);
}

static void it_has_null_for_input_and_no_fd_beyond_output(void **state) {
  shim *s = *state;
  int leaked = open("/dev/zero", O_RDONLY); /* on purpose without CLOEXEC */
  sleeper(s);
  shim_start_ok(s);
  pid_t pids[2] = {service_pid(s), shim_pid(s)};
  close(leaked);
  char path[64], target[64];
  snprintf(path, sizeof path, "/proc/%d/fd", (int)pids[0]);
  DIR *dir = opendir(path);
  int count = 0;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
    count += entry->d_name[0] != '.';
  closedir(dir);
  assert_int_equal(count, 3);
  for (int fd = 0; fd < 3; fd++) {
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pids[0], fd);
    ssize_t len = readlink(path, target, sizeof target - 1);
    target[len] = '\0';
    assert_contains(target, fd == 0 ? "/dev/null" : "pipe:");
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pids[1], fd);
    len = readlink(path, target, sizeof target - 1);
    target[len] = '\0';
    assert_string_equal(target, "/dev/null");
  }
}

static void it_leads_a_session_with_default_signals(void **state) {
  shim *s = *state;
  sleeper(s);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  shim_start_ok(s);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGHUP, SIG_DFL);
  pid_t pid = service_pid(s);
  assert_int_equal(getsid(pid), pid);
  assert_int_not_equal(getsid(shim_pid(s)), getsid(0));
  char path[64], status[4096] = "";
  snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(read(fd, status, sizeof status - 1) > 0);
  close(fd);
  assert_contains(status, "SigBlk:\t0000000000000000");
  assert_contains(status, "SigIgn:\t0000000000000000");
}

static void a_missing_program_is_an_error_that_names_it(void **state) {
  shim *s = *state;
  spec_add(s, "arg=/nowhere/program");
  spec_add(s, "restart=always");
  shim_start(s, NULL);
  assert_contains(s->ready, "error ENOENT could not execute `/nowhere/program`");
  assert_int_equal(s->exit_code, 1);
  assert_contains(state_file(s), "\"end\":\"start-failed\""); /* written before it is told */
}

static void a_missing_interpreter_is_told_apart_from_a_missing_file(void **state) {
  shim *s = *state;
  char path[128];
  snprintf(path, sizeof path, "%s/script", s->dir);
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
  assert_int_equal(write(fd, "#!/nowhere/sh\n", 14), 14);
  close(fd);
  spec_add(s, "arg=%s", path);
  shim_start(s, NULL);
  assert_contains(s->ready, "error ENOENT");
  assert_contains(s->ready, "interpreter");
}

static void spec_and_answer_may_be_stdin_and_stdout(void **state) {
  shim *s = *state;
  int spec[2], ready[2];
  sleeper(s);
  spec_add(s, "end=1");
  assert_int_equal(pipe2(spec, O_CLOEXEC), 0);
  assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
  assert_int_equal(write(spec[1], s->spec, s->spec_len), s->spec_len);
  close(spec[1]);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(spec[0], 0);
    dup2(ready[1], 1);
    execl(shim_binary, shim_binary, "run", "--dir", s->dir, "--socket", s->socket, "--spec-fd", "0",
          "--ready-fd", "1", NULL);
    _exit(99);
  }
  close(spec[0]);
  close(ready[1]);
  ssize_t len = read(ready[0], s->ready, sizeof s->ready - 1);
  assert_true(len > 0);
  assert_contains(s->ready, "ok ");
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  assert_int_equal(read(ready[0], s->ready, 1), 0); /* the supervisor does not hold it */
  close(ready[0]);
  shim_connect(s);
  assert_contains(shim_ask(s, "status"), "\"running\"");
}

static void an_unknown_key_is_an_error_that_names_it(void **state) {
  shim *s = *state;
  sleeper(s);
  spec_add(s, "restrat=no");
  shim_start(s, NULL);
  assert_string_equal(s->ready, "error unknown-key unknown key `restrat` in the spec\n");
}

static void a_socket_path_that_is_too_long_is_refused(void **state) {
  shim *s = *state;
  char path[200];
  int len = snprintf(path, sizeof path, "%s/", s->dir);
  memset(path + len, 'x', 120);
  path[len + 120] = '\0';
  sleeper(s);
  shim_start(s, "--socket", path, NULL);
  assert_contains(s->ready, "error ENAMETOOLONG");
}

static void a_file_in_the_place_of_the_socket_is_not_removed(void **state) {
  shim *s = *state;
  close(open(s->socket, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  sleeper(s);
  shim_start(s, NULL);
  assert_contains(s->ready, "error EEXIST");
  assert_int_equal(access(s->socket, F_OK), 0);
}

static void a_stale_socket_is_replaced(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  pid_t pid = shim_pid(s);
  shim_disconnect(s);
  kill(pid, SIGKILL);
  wait_gone(pid);
  assert_int_equal(access(s->socket, F_OK), 0);
  shim_start_ok(s);
}

static void one_directory_has_one_shim(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  shim_start(s, NULL);
  assert_contains(s->ready, "error EBUSY");
  shim_connect(s);
  assert_contains(shim_ask(s, "status"), "running");
}

/* ---- Ends and restarts. */

static void an_exit_is_recorded_with_its_code(void **state) {
  shim *s = *state;
  spec_shell(s, "exit 7");
  shim_start_ok(s);
  const char *record = wait_state(s, "\"failed\"");
  assert_contains(record, "\"end\":\"exit\"");
  assert_contains(record, "\"exit\":{\"code\":7,\"signal\":null");
  assert_true(json_number(record, "peak_memory") > 0);
}

static void a_success_is_not_restarted_on_failure(void **state) {
  shim *s = *state;
  spec_shell(s, "exit 0");
  spec_add(s, "restart=on-failure");
  shim_start_ok(s);
  assert_int_equal(json_number(wait_state(s, "\"exited\""), "restarts"), 0);
}

static void failures_are_restarted_up_to_the_limit(void **state) {
  shim *s = *state;
  spec_shell(s, "echo run; exit 1");
  spec_add(s, "restart=on-failure");
  spec_add(s, "restart_max=3");
  spec_add(s, "backoff_initial_ms=1");
  shim_start_ok(s);
  const char *record = wait_state(s, "\"failed\"");
  assert_contains(record, "\"end\":\"gave-up\"");
  assert_int_equal(json_number(record, "restarts"), 3);
  size_t len;
  char *out = service_output(s, "stdout", &len);
  assert_string_equal(out, "run\nrun\nrun\nrun\n");
  free(out);
}

static void always_restarts_a_success(void **state) {
  shim *s = *state;
  spec_shell(s, "exit 0");
  spec_add(s, "restart=always");
  spec_add(s, "restart_max=2");
  spec_add(s, "backoff_initial_ms=0");
  shim_start_ok(s);
  assert_int_equal(json_number(wait_state(s, "gave-up"), "restarts"), 2);
}

static void a_service_killed_from_outside_is_restarted(void **state) {
  shim *s = *state;
  sleeper(s);
  spec_add(s, "restart=on-failure");
  spec_add(s, "backoff_initial_ms=0");
  shim_start_ok(s);
  pid_t first = service_pid(s);
  shim_ask(s, "events");
  kill(first, SIGKILL);
  shim_read_until(s, "\"backoff\"");
  const char *event = shim_read_until(s, "\"running\"");
  assert_contains(event, "\"signal\":\"KILL\"");
  assert_int_equal(json_number(event, "restarts"), 1);
  shim_connect(s);
  assert_int_not_equal(service_pid(s), first);
}

static void start_ends_a_backoff(void **state) {
  shim *s = *state;
  spec_shell(s, "test -e again && exec sleep 1000; touch again; exit 1");
  spec_add(s, "cwd=%s", s->dir);
  spec_add(s, "restart=always");
  spec_add(s, "backoff_initial_ms=3600000");
  spec_add(s, "backoff_max_ms=3600000");
  shim_start_ok(s);
  wait_state(s, "\"backoff\"");
  shim_connect(s);
  assert_contains(shim_ask(s, "signal HUP"), "error not-running");
  assert_contains(shim_ask(s, "start"), "\"state\":\"running\"");
}

static void a_stop_in_backoff_ends_it(void **state) {
  shim *s = *state;
  spec_shell(s, "exit 1");
  spec_add(s, "restart=always");
  spec_add(s, "backoff_initial_ms=3600000");
  spec_add(s, "backoff_max_ms=3600000");
  shim_start_ok(s);
  wait_state(s, "\"backoff\"");
  shim_connect(s);
  assert_contains(shim_ask(s, "stop"), "\"end\":\"stopped\"");
}

static void a_program_that_vanishes_is_a_failed_restart(void **state) {
  shim *s = *state;
  char path[128];
  snprintf(path, sizeof path, "%s/script", s->dir);
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
  assert_true(write(fd, "#!/bin/sh\nrm \"$0\"\n", 18) == 18);
  close(fd);
  spec_add(s, "arg=%s", path);
  spec_add(s, "env=PATH=/bin:/usr/bin");
  spec_add(s, "restart=always");
  spec_add(s, "restart_max=2");
  spec_add(s, "backoff_initial_ms=0");
  shim_start_ok(s);
  const char *record = wait_state(s, "gave-up");
  assert_contains(record, "\"error\":{\"code\":\"ENOENT\"");
}

/* ---- Stopping. */

static void a_stopped_service_leaves_nothing_but_its_record(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  pid_t service = service_pid(s), own = shim_pid(s);
  const char *answer = shim_ask(s, "stop");
  assert_contains(answer, "ok {");
  assert_contains(answer, "\"state\":\"exited\"");
  assert_contains(answer, "\"wanted\":\"down\"");
  assert_contains(answer, "\"signal\":\"TERM\"");
  assert_null(shim_read(s));
  wait_gone(service);
  wait_gone(own);
  assert_int_equal(access(s->socket, F_OK), -1);
  assert_contains(state_file(s), "\"end\":\"stopped\"");
}

static void a_service_that_ignores_the_stop_signal_is_killed(void **state) {
  shim *s = *state;
  spec_shell(s, "trap '' TERM; echo armed; while :; do sleep 1000; done");
  shim_start_ok(s);
  wait_file(s, "log", "armed");
  shim_connect(s);
  assert_contains(shim_ask(s, "stop grace_ms=50"), "\"signal\":\"KILL\"");
  wait_file(s, "shim.log", "SIGTERM to process");
  wait_file(s, "shim.log", "SIGKILL to process");
}

static void a_second_stop_can_shorten_the_grace(void **state) {
  shim *s = *state;
  spec_shell(s, "trap '' TERM; echo armed; while :; do sleep 1000; done");
  spec_add(s, "stop_grace_ms=3600000");
  shim_start_ok(s);
  wait_file(s, "log", "armed");
  shim_connect(s);
  shim_send(s, "stop\n");
  wait_state(s, "\"stopping\"");
  int second = shim_dial(s);
  assert_int_equal(send(second, "stop grace_ms=0\n", 16, 0), 16);
  assert_contains(shim_read(s), "\"signal\":\"KILL\"");
  close(second);
}

static void the_stop_signal_is_the_specs(void **state) {
  shim *s = *state;
  spec_shell(s, "trap 'exit 3' USR1; echo armed; while :; do sleep 1000 & wait; done");
  spec_add(s, "stop_signal=USR1");
  shim_start_ok(s);
  wait_file(s, "log", "armed");
  shim_connect(s);
  assert_contains(shim_ask(s, "stop"), "\"code\":3");
}

static void a_frozen_service_hears_the_stop_signal(void **state) {
  shim *s = *state;
  sleeper(s);
  spec_add(s, "stop_grace_ms=3600000");
  shim_start_ok(s);
  shim_connect(s);
  assert_contains(shim_ask(s, "signal STOP"), "ok ");
  assert_contains(shim_ask(s, "stop"), "\"signal\":\"TERM\"");
}

static void a_restart_is_a_stop_and_a_start(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  pid_t first = service_pid(s);
  const char *answer = shim_ask(s, "restart");
  assert_contains(answer, "\"state\":\"running\"");
  assert_int_equal(json_number(answer, "restarts"), 0);
  assert_int_not_equal(service_pid(s), first);
  wait_gone(first);
}

static void whoever_waits_is_told_the_end(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  pid_t pid = service_pid(s);
  shim_send(s, "wait\n");
  kill(pid, SIGINT);
  assert_contains(shim_read(s), "\"signal\":\"INT\"");
}

static void a_request_sent_before_hanging_up_is_carried_out(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  int fd = shim_dial(s);
  assert_int_equal(send(fd, "stop\n", 5, 0), 5);
  close(fd);
  wait_state(s, "\"stopped\"");
}

static void sigterm_to_the_shim_stops_the_service_but_not_the_wish(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  kill(shim_pid(s), SIGTERM);
  const char *record = wait_state(s, "\"terminated\"");
  assert_contains(record, "\"wanted\":\"up\"");
}

/* ---- What it leaves behind, and who dies with whom. */

static void children_left_behind_are_ended_before_a_restart(void **state) {
  shim *s = *state;
  spec_shell(s, "test -e second && exec sleep 1000\n"
                "touch second; sleep 1000 & echo $! >child; exit 1");
  spec_add(s, "cwd=%s", s->dir);
  spec_add(s, "restart=on-failure");
  spec_add(s, "backoff_initial_ms=0");
  shim_start_ok(s);
  pid_t child = written_pid(s, "child");
  wait_state(s, "\"restarts\":1");
  wait_gone(child);
}

static void a_frozen_child_left_behind_hears_the_stop_signal(void **state) {
  shim *s = *state;
  size_t len;
  spec_shell(s, "sh -c 'trap \"echo bye; exit\" TERM; kill -STOP $$; sleep 1000' &\n"
                "until grep -q 'T (stopped)' /proc/$!/status; do :; done");
  spec_add(s, "env=PATH=/bin:/usr/bin");
  spec_add(s, "stop_grace_ms=600000");
  shim_start_ok(s);
  wait_state(s, "\"exited\"");
  char *out = service_output(s, "stdout", &len);
  assert_string_equal(out, "bye\n");
  free(out);
}

static void a_daemonised_grandchild_that_ignores_term_is_killed(void **state) {
  shim *s = *state;
  spec_shell(s, "(trap '' TERM HUP; setsid sh -c 'trap \"\" TERM; echo $$ >child; "
                "while :; do sleep 1000; done' &) ; while ! test -s child; do :; done");
  spec_add(s, "cwd=%s", s->dir);
  spec_add(s, "env=PATH=/bin:/usr/bin");
  spec_add(s, "stop_grace_ms=50");
  shim_start_ok(s);
  pid_t child = written_pid(s, "child");
  const char *record = wait_state(s, "\"exited\"");
  assert_contains(record, "\"code\":0");
  wait_gone(child);
  wait_file(s, "shim.log", "SIGKILL to what it left");
}

static void output_held_open_by_a_stranger_does_not_block_the_end(void **state) {
  shim *s = *state;
  char path[128];
  sleeper(s);
  spec_add(s, "drain_ms=50");
  shim_start_ok(s);
  /* Opens the pipe through /proc: not a process of the service, and not below the shim. */
  snprintf(path, sizeof path, "/proc/%d/fd/1", (int)service_pid(s));
  int held = open(path, O_WRONLY | O_CLOEXEC);
  assert_true(held >= 0);
  assert_contains(shim_ask(s, "stop"), "\"exited\"");
  wait_file(s, "shim.log", "closing its output");
  close(held);
}

static void the_service_dies_with_its_shim(void **state) {
  shim *s = *state;
  sleeper(s);
  spec_add(s, "restart=always");
  shim_start_ok(s);
  pid_t service = service_pid(s), own = shim_pid(s);
  kill(own, SIGKILL);
  wait_gone(own);
  wait_gone(service);
  assert_contains(state_file(s), "\"running\""); /* what a reader takes as: lost supervisor */
}

static void the_service_outlives_whoever_started_it(void **state) {
  shim *s = *state;
  int done[2];
  sleeper(s);
  assert_int_equal(pipe2(done, O_CLOEXEC), 0);
  pid_t starter = fork();
  if (starter == 0) {
    setsid();
    shim_start_ok(s);
    (void)!write(done[1], "x", 1);
    pause();
  }
  char byte;
  assert_int_equal(read(done[0], &byte, 1), 1);
  kill(-starter, SIGKILL);
  assert_int_equal(waitpid(starter, NULL, 0), starter);
  close(done[0]);
  close(done[1]);
  shim_connect(s);
  assert_true(is_alive(service_pid(s)));
  assert_contains(shim_ask(s, "status"), "\"running\"");
}

static int run(void) {
#define shim_test(name) cmocka_unit_test_setup_teardown(name, shim_setup, shim_teardown)
  const struct CMUnitTest tests[] = {
      shim_test(a_started_service_is_recorded_as_running),
      shim_test(the_environment_is_exactly_that_of_the_spec),
      shim_test(a_value_of_100_kb_arrives_whole),
      shim_test(it_has_null_for_input_and_no_fd_beyond_output),
      shim_test(it_leads_a_session_with_default_signals),
      shim_test(a_missing_program_is_an_error_that_names_it),
      shim_test(a_missing_interpreter_is_told_apart_from_a_missing_file),
      shim_test(spec_and_answer_may_be_stdin_and_stdout),
      shim_test(an_unknown_key_is_an_error_that_names_it),
      shim_test(a_socket_path_that_is_too_long_is_refused),
      shim_test(a_file_in_the_place_of_the_socket_is_not_removed),
      shim_test(a_stale_socket_is_replaced),
      shim_test(one_directory_has_one_shim),
      shim_test(an_exit_is_recorded_with_its_code),
      shim_test(a_success_is_not_restarted_on_failure),
      shim_test(failures_are_restarted_up_to_the_limit),
      shim_test(always_restarts_a_success),
      shim_test(a_service_killed_from_outside_is_restarted),
      shim_test(start_ends_a_backoff),
      shim_test(a_stop_in_backoff_ends_it),
      shim_test(a_program_that_vanishes_is_a_failed_restart),
      shim_test(a_stopped_service_leaves_nothing_but_its_record),
      shim_test(a_service_that_ignores_the_stop_signal_is_killed),
      shim_test(a_second_stop_can_shorten_the_grace),
      shim_test(the_stop_signal_is_the_specs),
      shim_test(a_frozen_service_hears_the_stop_signal),
      shim_test(a_restart_is_a_stop_and_a_start),
      shim_test(whoever_waits_is_told_the_end),
      shim_test(a_request_sent_before_hanging_up_is_carried_out),
      shim_test(sigterm_to_the_shim_stops_the_service_but_not_the_wish),
      shim_test(children_left_behind_are_ended_before_a_restart),
      shim_test(a_frozen_child_left_behind_hears_the_stop_signal),
      shim_test(a_daemonised_grandchild_that_ignores_term_is_killed),
      shim_test(output_held_open_by_a_stranger_does_not_block_the_end),
      shim_test(the_service_dies_with_its_shim),
      shim_test(the_service_outlives_whoever_started_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return driver_main(argc, argv, run);
}
