#include "unit.h"

#include "core/identity_wait.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
  int calls;
  bool cancelled;
} outcome;

static void ended(void *data, bool cancelled) {
  outcome *self = data;
  self->calls++;
  self->cancelled = cancelled;
}

static pid_t start_pausing_child(void) {
  pid_t pid = fork();
  if (pid == 0) {
    pause();
    _exit(0);
  }
  return pid;
}

static void reap(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

static void the_end_of_a_process_is_told_once(void **state) {
  (void)state;
  mp_loop loop;
  mp_error err = MP_ERROR_INIT;
  mp_identity identity;
  outcome got = {0};
  assert_int_equal(mp_loop_init(&loop, &err), 0);
  pid_t pid = start_pausing_child();
  assert_int_equal(mp_identity_of(pid, &identity, &err), 0);
  assert_non_null(mp_identity_wait_start(&loop, &identity, ended, &got, &err));
  uv_run(&loop.uv, UV_RUN_NOWAIT);
  assert_int_equal(got.calls, 0);
  kill(pid, SIGKILL);
  mp_loop_run(&loop);
  assert_int_equal(got.calls, 1);
  assert_false(got.cancelled);
  reap(pid);
  mp_loop_close(&loop);
}

static void a_process_that_has_ended_already_is_told_after_the_start(void **state) {
  (void)state;
  mp_loop loop;
  mp_error err = MP_ERROR_INIT;
  mp_identity identity;
  outcome got = {0};
  assert_int_equal(mp_loop_init(&loop, &err), 0);
  pid_t pid = start_pausing_child();
  assert_int_equal(mp_identity_of(pid, &identity, &err), 0);
  reap(pid);
  assert_non_null(mp_identity_wait_start(&loop, &identity, ended, &got, &err));
  assert_int_equal(got.calls, 0);
  mp_loop_run(&loop);
  assert_int_equal(got.calls, 1);
  mp_loop_close(&loop);
}

static void a_wait_can_be_cancelled(void **state) {
  (void)state;
  mp_loop loop;
  mp_error err = MP_ERROR_INIT;
  mp_identity identity;
  outcome got = {0};
  assert_int_equal(mp_loop_init(&loop, &err), 0);
  pid_t pid = start_pausing_child();
  assert_int_equal(mp_identity_of(pid, &identity, &err), 0);
  mp_op *op = mp_identity_wait_start(&loop, &identity, ended, &got, &err);
  assert_non_null(op);
  mp_op_cancel(op);
  mp_op_cancel(op);
  mp_loop_run(&loop);
  assert_int_equal(got.calls, 1);
  assert_true(got.cancelled);
  reap(pid);
  mp_loop_close(&loop);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_end_of_a_process_is_told_once),
      cmocka_unit_test(a_process_that_has_ended_already_is_told_after_the_start),
      cmocka_unit_test(a_wait_can_be_cancelled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
