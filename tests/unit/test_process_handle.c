/* A process one talks to: mp_process_spawn and its streams. */
#include "process_fixture.h"

#include <poll.h>

typedef struct {
  mp_loop *loop;
  mp_process *process;
  mp_buf read;
  int ends;
  mp_process_exit exit;
  char *code; /* of the wait's error */
  int waits;
  uint64_t grace;
} talk;

static void spawn(void **state, talk *with, const mp_process_options *options) {
  fixture *self = *state;
  mp_error err = MP_ERROR_INIT;
  *with = (talk){.loop = &self->loop};
  if (mp_process_spawn(&self->loop, options, &with->process, &err) < 0)
    fail_msg("%s", err.message);
}

static void on_wait(void *data, const mp_process_exit *exit, const mp_error *err) {
  talk *with = data;
  with->waits++;
  if (exit)
    with->exit = *exit;
  else
    with->code = mp_strdup(err->code);
}

static void wait_for(talk *with) {
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  assert_int_equal(mp_process_wait(with->process, 1024, on_wait, with, &op, &err), 0);
}

static void on_line(void *data, const char *line, size_t len, const mp_error *err) {
  talk *with = data;
  mp_error ignored = MP_ERROR_INIT;
  mp_op *op;
  assert_null(err);
  if (line == NULL) {
    with->ends++;
    return;
  }
  mp_buf_printf(&with->read, "[%.*s]", (int)len, line);
  mp_stream_end(mp_process_in(with->process));
  assert_int_equal(
      mp_stream_read_line(mp_process_out(with->process), 100, on_line, with, &op, &ignored), 0);
}

static void on_written(void *data, const mp_error *err) {
  (void)data;
  assert_null(err);
}

static void a_conversation_by_lines_ends_with_the_end_of_stdin(void **state) {
  talk with;
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  const mp_process_options options = {.argv = ARGV("/bin/cat"), .in = PIPE, .out = PIPE};
  spawn(state, &with, &options);
  mp_stream *in = mp_process_in(with.process);
  assert_int_equal(mp_stream_write(in, "one\ntwo\nthr", 11, on_written, NULL, &op, &err), 0);
  assert_int_equal(mp_stream_write(in, "ee", 2, on_written, NULL, &op, &err), 0);
  mp_stream *out = mp_process_out(with.process);
  assert_int_equal(mp_stream_read_line(out, 100, on_line, &with, &op, &err), 0);
  wait_for(&with);
  mp_loop_run(with.loop);
  assert_string_equal(with.read.data, "[one][two][three]");
  assert_int_equal(with.ends, 1);
  assert_int_equal(with.waits, 1);
  mp_process_close(with.process);
  mp_loop_run(with.loop);
  mp_buf_free(&with.read);
}

static void output_that_nobody_reads_does_not_block_a_wait(void **state) {
  talk with;
  const mp_process_options options = {
      .argv = SH("seq 1 200000; seq 1 200000 >&2"), .out = PIPE, .err = PIPE};
  spawn(state, &with, &options);
  wait_for(&with);
  mp_loop_run(with.loop);
  assert_int_equal(with.waits, 1);
  assert_int_equal(with.exit.code, 0);
  mp_stream *out = mp_process_out(with.process);
  const char *line;
  size_t len;
  assert_true(mp_stream_take_line(out, 100, &line, &len));
  assert_int_equal(len, 1);
  assert_true(mp_stream_dropped(out) > 1000000);
  mp_process_close(with.process);
  mp_loop_run(with.loop);
}

static void on_first_line(void *data, const char *line, size_t len, const mp_error *err) {
  talk *with = data;
  assert_null(err);
  mp_buf_append(&with->read, line, len);
  mp_process_stop(with->process, with->grace);
}

/* Stops the script, with this grace, when it has printed the pid of a child of its own. */
static void stop_when_it_speaks(void **state, talk *with, const char *script, uint64_t grace) {
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  const mp_process_options options = {.argv = SH(script), .out = PIPE};
  spawn(state, with, &options);
  with->grace = grace;
  mp_stream *out = mp_process_out(with->process);
  assert_int_equal(mp_stream_read_line(out, 100, on_first_line, with, &op, &err), 0);
  wait_for(with);
  mp_loop_run(with->loop);
  assert_int_equal(with->waits, 1);
  mp_process_close(with->process);
  mp_loop_run(with->loop);
}

static void a_stop_reaches_the_whole_group(void **state) {
  talk with;
  stop_when_it_speaks(state, &with, "sleep 1000 & echo $!; wait", 60000);
  assert_int_equal(with.exit.signal, SIGTERM);
  assert_int_equal(WTERMSIG(wait_for_orphan(with.read.data)), SIGTERM);
  mp_buf_free(&with.read);
}

static void who_ignores_sigterm_is_killed_after_the_grace(void **state) {
  talk with;
  stop_when_it_speaks(state, &with, "trap '' TERM; sleep 1000 & echo $!; wait", 20);
  assert_int_equal(with.exit.signal, SIGKILL);
  assert_int_equal(WTERMSIG(wait_for_orphan(with.read.data)), SIGKILL);
  mp_buf_free(&with.read);
}

static void who_outlives_a_stopped_leader_is_killed(void **state) {
  talk with;
  stop_when_it_speaks(state, &with,
                      "trap 'exit 5' TERM;"
                      "sh -c 'trap \"\" TERM; echo $$; exec sleep 1000 >/dev/null' & wait",
                      60000);
  assert_int_equal(with.exit.code, 5);
  wait_for_orphan(with.read.data);
  mp_buf_free(&with.read);
}

static void a_suspended_process_can_be_stopped(void **state) {
  talk with;
  int status;
  const mp_process_options options = {.argv = SH("trap 'exit 3' TERM; kill -STOP $$; :")};
  spawn(state, &with, &options);
  pid_t pid = mp_process_pid(with.process);
  assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
  mp_process_stop(with.process, 60000);
  wait_for(&with);
  mp_loop_run(with.loop);
  assert_int_equal(with.exit.code, 3);
  mp_process_close(with.process);
  mp_loop_run(with.loop);
}

/* Reads beneath the stream, so that the loop learns of nothing yet. */
static void wait_for_text(mp_process *process, const char *text, char *seen, size_t size) {
  struct pollfd polled = {.fd = mp_stream_fd(mp_process_out(process)), .events = POLLIN};
  size_t len = 0;
  do {
    assert_int_equal(poll(&polled, 1, -1), 1);
    ssize_t got = read(polled.fd, seen + len, size - 1 - len);
    assert_true(got > 0);
    seen[len += (size_t)got] = '\0';
  } while (strstr(seen, text) == NULL);
}

static void closing_kills_the_group_and_answers_who_waits(void **state) {
  talk with;
  const mp_process_options options = {.argv = SH("trap '' TERM; sleep 1000 & echo $!; wait"),
                                      .out = PIPE};
  spawn(state, &with, &options);
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  char pid[16];
  wait_for_text(with.process, "\n", pid, sizeof pid); /* before anything is closed */
  assert_int_equal(mp_process_wait(with.process, 0, on_wait, &with, &op, &err), 0);
  mp_process_close(with.process);
  mp_loop_run(with.loop);
  assert_int_equal(with.waits, 1);
  assert_string_equal(with.code, MP_CANCELLED);
  assert_int_equal(WTERMSIG(wait_for_orphan(pid)), SIGKILL);
  free(with.code);
}

/* The leader has ended, and someone of its group holds the output open. */
static void closing_calls_nobody_back_before_it_returns(void **state) {
  talk with;
  const mp_process_options options = {.argv = SH("sleep 1000 & exit 3"), .out = PIPE};
  spawn(state, &with, &options);
  wait_for(&with);
  while (mp_process_exited(with.process) == NULL)
    uv_run(&with.loop->uv, UV_RUN_ONCE);
  assert_int_equal(with.waits, 0);
  mp_process_close(with.process);
  assert_int_equal(with.waits, 0);
  mp_loop_run(with.loop);
  assert_int_equal(with.waits, 1);
  assert_string_equal(with.code, MP_CANCELLED);
  free(with.code);
}

static void a_signal_after_the_end_is_esrch(void **state) {
  talk with;
  mp_error err = MP_ERROR_INIT;
  const mp_process_options options = {.argv = SH("trap 'exit 9' USR1; kill -STOP $$; :")};
  spawn(state, &with, &options);
  int status;
  assert_int_equal(waitpid(mp_process_pid(with.process), &status, WUNTRACED), /* the trap is set */
                   mp_process_pid(with.process));
  assert_int_equal(mp_process_signal(with.process, SIGUSR1, &err), 0);
  assert_int_equal(mp_process_signal(with.process, SIGCONT, &err), 0);
  wait_for(&with);
  mp_loop_run(with.loop);
  assert_int_equal(with.exit.code, 9);
  assert_int_equal(mp_process_signal(with.process, SIGUSR1, &err), -1);
  assert_string_equal(err.code, "ESRCH");
  mp_error_reset(&err);
  mp_process_close(with.process);
  mp_loop_run(with.loop);
}

static void a_terminal_can_be_resized(void **state) {
  talk with;
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  const mp_process_options options = {
      .argv = SH("trap 'stty size; exit' WINCH; echo ready; while :; do read x; done"),
      .pty = true};
  spawn(state, &with, &options);
  char seen[64];
  mp_stream *out = mp_process_out(with.process);
  wait_for_text(with.process, "ready", seen, sizeof seen);
  assert_int_equal(mp_process_resize(with.process, 11, 22, &err), 0);
  assert_int_equal(mp_stream_write(out, "\n", 1, on_written, NULL, &op, &err), 0);
  assert_int_equal(mp_stream_read_all(out, 100, on_line, &with, &op, &err), 0);
  mp_loop_run(with.loop);
  assert_non_null(strstr(with.read.data, "11 22"));
  mp_process_close(with.process);
  mp_loop_run(with.loop);
  mp_buf_free(&with.read);
}

/* Starts `sleep` from a process that is then killed, and returns sleep's pid. */
static pid_t orphan_of_the_dead(bool detached) {
  int ends[2];
  pid_t pid;
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  pid_t parent = fork();
  if (parent == 0) {
    mp_loop loop;
    mp_error err = MP_ERROR_INIT;
    mp_process *process;
    const mp_process_options options = {.argv = ARGV("/bin/sleep", "1000"), .detached = detached};
    mp_loop_init(&loop, &err);
    mp_process_spawn(&loop, &options, &process, &err);
    pid = mp_process_pid(process);
    if (write(ends[1], &pid, sizeof pid) == sizeof pid)
      kill(getpid(), SIGKILL);
    _exit(1);
  }
  close(ends[1]);
  assert_int_equal(read(ends[0], &pid, sizeof pid), sizeof pid);
  close(ends[0]);
  assert_int_equal(waitpid(parent, NULL, 0), parent);
  return pid;
}

static void a_child_dies_with_us_unless_it_is_detached(void **state) {
  (void)state;
  int status;
  pid_t pid = orphan_of_the_dead(false);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(WTERMSIG(status), SIGKILL);
  pid = orphan_of_the_dead(true);
  assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
  kill(pid, SIGKILL);
  assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void a_detached_child_is_let_go_and_reaped_later(void **state) {
  talk with, next;
  const mp_process_options options = {.argv = ARGV("/bin/sleep", "1000"), .detached = true};
  spawn(state, &with, &options);
  pid_t pid = mp_process_pid(with.process);
  mp_process_close(with.process);
  mp_loop_run(with.loop); /* does not wait for it */
  assert_int_equal(kill(pid, SIGKILL), 0);
  siginfo_t info;
  assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
  const mp_process_options another = {.argv = ARGV("/bin/true")};
  spawn(state, &next, &another);
  assert_int_equal(kill(pid, 0), -1);
  wait_for(&next);
  mp_loop_run(next.loop);
  mp_process_close(next.process);
  mp_loop_run(next.loop);
}

int main(void) {
  /* Orphans of ours come to us, so that a test can see how they ended. */
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const struct CMUnitTest tests[] = {
      TEST(a_conversation_by_lines_ends_with_the_end_of_stdin),
      TEST(output_that_nobody_reads_does_not_block_a_wait),
      TEST(a_stop_reaches_the_whole_group),
      TEST(who_ignores_sigterm_is_killed_after_the_grace),
      TEST(who_outlives_a_stopped_leader_is_killed),
      TEST(a_suspended_process_can_be_stopped),
      TEST(closing_kills_the_group_and_answers_who_waits),
      TEST(closing_calls_nobody_back_before_it_returns),
      TEST(a_signal_after_the_end_is_esrch),
      TEST(a_terminal_can_be_resized),
      TEST(a_child_dies_with_us_unless_it_is_detached),
      TEST(a_detached_child_is_let_go_and_reaped_later),
  };
  return cmocka_run_group_tests(tests, warm_up, NULL);
}
