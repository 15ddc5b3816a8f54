/* From start to end in one call: mp_process_run. */
#include "process_fixture.h"

/* The answer of one mp_process_run. */
typedef struct {
  mp_process_exit exit;
  char *out;
  char *err;
  size_t out_len;
  bool truncated;
  mp_error error;
  int calls;
} outcome;

static void on_run(void *data, mp_process_result *result, const mp_error *err) {
  outcome *to = data;
  to->calls++;
  to->exit = result->exit;
  to->out = mp_memdup(result->out.data, result->out.len);
  to->out_len = result->out.len;
  to->err = mp_memdup(result->err.data, result->err.len);
  to->truncated = result->truncated;
  if (err)
    mp_error_copy(&to->error, err);
}

static void forget(outcome *of) {
  free(of->out);
  free(of->err);
  mp_error_reset(&of->error);
  *of = (outcome){0};
}

static mp_process_run_options captured(const char *const *argv) {
  return (mp_process_run_options){
      .spawn = {.argv = argv, .out = PIPE, .err = PIPE},
  };
}

static void start(void **state, const mp_process_run_options *options, outcome *to, mp_op **op) {
  fixture *self = *state;
  mp_error err = MP_ERROR_INIT;
  *to = (outcome){0};
  if (mp_process_run(&self->loop, options, on_run, to, op, &err) < 0)
    fail_msg("%s", err.message);
  assert_int_equal(to->calls, 0);
}

static void run(void **state, const mp_process_run_options *options, outcome *to) {
  fixture *self = *state;
  mp_op *op;
  start(state, options, to, &op);
  mp_loop_run(&self->loop);
  assert_int_equal(to->calls, 1);
}

static void refuse(void **state, const mp_process_run_options *options, mp_error *err) {
  fixture *self = *state;
  mp_op *op;
  assert_int_equal(mp_process_run(&self->loop, options, on_run, NULL, &op, err), -1);
  mp_loop_run(&self->loop);
}

static void exit_code_and_both_outputs_are_reported(void **state) {
  outcome got;
  mp_process_run_options options = captured(SH("echo out; echo err >&2; exit 7"));
  run(state, &options, &got);
  assert_int_equal(got.exit.code, 7);
  assert_int_equal(got.exit.signal, 0);
  assert_string_equal(got.out, "out\n");
  assert_string_equal(got.err, "err\n");
  assert_null(got.error.domain);
  forget(&got);
}

static void the_signal_that_ended_it_is_reported(void **state) {
  outcome got;
  /* SIGPIPE, which we ignore, is the default again in the child. */
  mp_process_run_options options = captured(SH("kill -PIPE $$"));
  run(state, &options, &got);
  assert_int_equal(got.exit.code, -1);
  assert_int_equal(got.exit.signal, SIGPIPE);
  forget(&got);
}

static void hostile_arguments_arrive_unchanged(void **state) {
  outcome got;
  char *large = mp_alloc(100 * 1024 + 1);
  memset(large, 'x', 100 * 1024);
  const char *hostile[] = {"a\nb\n", "'\"`", "$(reboot)", ";|&", "grüße \xf0\x9f\x8c\x95",
                           "",       "-n",   "\\",        large};
  size_t count = sizeof hostile / sizeof *hostile;
  const char *argv[16] = {"/bin/sh", "-c", "printf '%s|' \"$@\"", "sh"};
  mp_buf expected = MP_BUF_INIT;
  for (size_t i = 0; i < count; i++) {
    argv[4 + i] = hostile[i];
    mp_buf_printf(&expected, "%s|", hostile[i]);
  }
  mp_process_run_options options = captured(argv);
  run(state, &options, &got);
  assert_string_equal(got.out, expected.data);
  forget(&got);
  mp_buf_free(&expected);
  free(large);
}

static void an_explicit_environment_is_all_there_is(void **state) {
  outcome got;
  setenv("MP_TEST_SECRET", "of the operator", 1);
  mp_process_run_options options = captured(ARGV("/usr/bin/env"));
  options.spawn.env = ARGV("A=1", "B=two\nlines");
  run(state, &options, &got);
  assert_string_equal(got.out, "A=1\nB=two\nlines\n");
  forget(&got);
}

static void the_program_is_looked_up_in_the_childs_path(void **state) {
  outcome got;
  mp_process_run_options options = captured(ARGV("env"));
  options.spawn.env = ARGV("PATH=/nonexistent:/usr/bin");
  run(state, &options, &got);
  assert_int_equal(got.exit.code, 0);
  forget(&got);
  mp_error err = MP_ERROR_INIT;
  options.spawn.env = ARGV("PATH=/nonexistent");
  refuse(state, &options, &err);
  assert_string_equal(err.code, "ENOENT");
  assert_string_equal(err.hint, "looked in /nonexistent");
  mp_error_reset(&err);
}

static void it_runs_in_the_directory_asked_for(void **state) {
  outcome got;
  mp_process_run_options options = captured(ARGV("/bin/pwd"));
  options.spawn.cwd = "/proc";
  run(state, &options, &got);
  assert_string_equal(got.out, "/proc\n");
  forget(&got);
  mp_error err = MP_ERROR_INIT;
  options.spawn.cwd = "/nonexistent";
  refuse(state, &options, &err);
  assert_string_equal(err.message, "could not enter `/nonexistent` to run `/bin/pwd`: "
                                   "No such file or directory");
  mp_error_reset(&err);
}

static void write_file(const char *path, const char *text, mode_t mode) {
  FILE *file = fopen(path, "w");
  fputs(text, file);
  fclose(file);
  chmod(path, mode);
}

static void a_program_that_cannot_run_is_an_error_with_the_reason(void **state) {
  mp_error err = MP_ERROR_INIT;
  char dir[] = "/tmp/mp-process-XXXXXX";
  assert_non_null(mkdtemp(dir));
  mp_auto_free char *path = mp_sprintf("%s/program", dir);
  mp_process_run_options options = captured(ARGV(path));

  refuse(state, &options, &err);
  assert_string_equal(err.code, "ENOENT");
  assert_null(err.hint);
  write_file(path, "#!/nonexistent/interpreter\n", 0755);
  refuse(state, &options, &err);
  assert_string_equal(err.code, "ENOENT");
  assert_non_null(strstr(err.hint, "interpreter"));
  write_file(path, "neither fish nor fowl", 0755);
  refuse(state, &options, &err);
  assert_string_equal(err.code, "ENOEXEC");
  chmod(path, 0644);
  refuse(state, &options, &err);
  assert_string_equal(err.code, "EACCES");

  mp_error_reset(&err);
  unlink(path);
  rmdir(dir);
}

static void another_user_comes_with_all_its_groups_and_no_others(void **state) {
  mp_error err = MP_ERROR_INIT;
  outcome got;
  mp_user nobody = MP_USER_INIT;
  assert_int_equal(mp_user_lookup("nobody", NULL, &nobody, &err), 0);
  mp_process_run_options options = captured(SH("id -u; id -g; id -G; cat /proc/self/status"));
  options.spawn.user = &nobody;
  if (geteuid() == 0) {
    run(state, &options, &got);
    mp_auto_free char *expected = mp_sprintf("%u\n%u\n%u\n", nobody.uid, nobody.gid, nobody.gid);
    assert_int_equal(strncmp(got.out, expected, strlen(expected)), 0);
    assert_non_null(strstr(got.out, "CapEff:\t0000000000000000"));
    forget(&got);
  } else {
    refuse(state, &options, &err);
    assert_string_equal(err.code, "EPERM");
    assert_non_null(strstr(err.hint, "CAP_SETUID"));
    mp_error_reset(&err);
  }
  mp_user_reset(&nobody);
}

static void input_of_any_size_passes_through(void **state) {
  outcome got;
  size_t size = 1024 * 1024;
  char *input = mp_alloc(size);
  for (size_t i = 0; i < size; i++)
    input[i] = (char)(i * 31);
  mp_process_run_options options = captured(ARGV("/bin/cat"));
  options.spawn.in.kind = MP_STDIO_PIPE;
  options.input = input;
  options.input_len = size;
  run(state, &options, &got);
  assert_int_equal(got.out_len, size);
  assert_memory_equal(got.out, input, size);
  forget(&got);
  /* A program that does not read it all has not failed. */
  options.spawn.argv = ARGV("/bin/true");
  run(state, &options, &got);
  assert_int_equal(got.exit.code, 0);
  assert_null(got.error.domain);
  forget(&got);
  free(input);
}

static void files_are_truncated_or_appended_to(void **state) {
  outcome got;
  char dir[] = "/tmp/mp-process-XXXXXX";
  assert_non_null(mkdtemp(dir));
  mp_auto_free char *path = mp_sprintf("%s/log", dir);
  mp_process_run_options options = captured(SH("echo one; echo two >&2"));
  options.spawn.out = (mp_stdio){.kind = MP_STDIO_FILE, .path = path};
  options.spawn.err = (mp_stdio){.kind = MP_STDIO_STDOUT};
  run(state, &options, &got);
  forget(&got);
  struct stat about;
  assert_int_equal(stat(path, &about), 0);
  assert_int_equal(about.st_mode & 0777, 0600);
  options.spawn.out.append = true;
  run(state, &options, &got);
  forget(&got);
  options = captured(ARGV("/bin/cat"));
  options.spawn.in = (mp_stdio){.kind = MP_STDIO_FILE, .path = path};
  run(state, &options, &got);
  assert_string_equal(got.out, "one\ntwo\none\ntwo\n");
  forget(&got);
  unlink(path);
  rmdir(dir);
}

static void a_fifo_without_a_reader_does_not_stall_the_loop(void **state) {
  mp_error err = MP_ERROR_INIT;
  char dir[] = "/tmp/mp-process-XXXXXX";
  assert_non_null(mkdtemp(dir));
  mp_auto_free char *path = mp_sprintf("%s/fifo", dir);
  assert_int_equal(mkfifo(path, 0600), 0);
  mp_process_run_options options = captured(ARGV("/bin/true"));
  options.spawn.out = (mp_stdio){.kind = MP_STDIO_FILE, .path = path};
  refuse(state, &options, &err);
  assert_string_equal(err.code, "ENXIO");
  mp_error_reset(&err);
  unlink(path);
  rmdir(dir);
}

static void a_timeout_ends_it_and_keeps_what_it_said(void **state) {
  outcome got;
  mp_process_run_options options = captured(ARGV("/bin/sleep", "1000"));
  options.timeout = 20;
  run(state, &options, &got);
  assert_true(mp_error_is(&got.error, MP_TIMEOUT));
  assert_int_equal(got.exit.signal, SIGTERM);
  forget(&got);
}

static void a_grandchild_that_holds_the_pipe_does_not_hang_the_capture(void **state) {
  outcome got;
  mp_process_run_options options = captured(SH("sleep 1000 & echo $!"));
  options.spawn.drain = 50;
  run(state, &options, &got);
  assert_int_equal(got.exit.code, 0);
  assert_null(got.error.domain);
  pid_t grandchild = atoi(got.out);
  assert_int_equal(kill(grandchild, SIGKILL), 0); /* it was left alone */
  wait_for_orphan(got.out);
  forget(&got);
}

static void more_output_than_the_limit_stops_it(void **state) {
  outcome got;
  mp_process_run_options options = captured(ARGV("/usr/bin/yes"));
  options.limit = 1000;
  run(state, &options, &got);
  assert_true(mp_error_is(&got.error, MP_LIMIT));
  assert_int_equal(got.out_len, 1000);
  assert_int_not_equal(got.exit.signal, 0);
  forget(&got);
}

static void truncation_keeps_the_beginning_and_lets_it_finish(void **state) {
  outcome got;
  mp_process_run_options options = captured(SH("seq 1 100000; exit 4"));
  options.limit = 4;
  options.truncate = true;
  run(state, &options, &got);
  assert_null(got.error.domain);
  assert_true(got.truncated);
  assert_string_equal(got.out, "1\n2\n");
  assert_int_equal(got.exit.code, 4);
  forget(&got);
}

static void cancelling_ends_it_and_answers_once(void **state) {
  fixture *self = *state;
  outcome got;
  mp_op *op;
  mp_process_run_options options = captured(SH("echo begun; sleep 1000"));
  start(state, &options, &got, &op);
  mp_op_cancel(op);
  mp_op_cancel(op);
  assert_int_equal(got.calls, 0);
  mp_loop_run(&self->loop);
  assert_int_equal(got.calls, 1);
  assert_true(mp_error_is(&got.error, MP_CANCELLED));
  forget(&got);
}

static void two_hundred_at_once_keep_their_outputs_apart(void **state) {
  fixture *self = *state;
  enum { COUNT = 200 };
  static outcome got[COUNT];
  for (int i = 0; i < COUNT; i++) {
    mp_op *op;
    mp_auto_free char *number = mp_sprintf("%d", i);
    mp_process_run_options options =
        captured(SH("echo $1; echo $1 >&2; exit $(($1 % 100))", number));
    start(state, &options, &got[i], &op);
  }
  mp_loop_run(&self->loop);
  for (int i = 0; i < COUNT; i++) {
    mp_auto_free char *expected = mp_sprintf("%d\n", i);
    assert_int_equal(got[i].calls, 1);
    assert_int_equal(got[i].exit.code, i % 100);
    assert_string_equal(got[i].out, expected);
    assert_string_equal(got[i].err, expected);
    forget(&got[i]);
  }
}

static void no_descriptor_leaks_into_a_child(void **state) {
  outcome got;
  int leaky = fcntl(1, F_DUPFD, 50); /* without close-on-exec, as a parent may have left one */
  mp_process_run_options options = captured(SH("ls /proc/$$/fd"));
  run(state, &options, &got);
  assert_string_equal(got.out, "0\n1\n2\n");
  forget(&got);
  close(leaky);
}

static void descriptors_are_passed_on_in_order(void **state) {
  outcome got;
  int one[2], two[2];
  assert_int_equal(pipe2(one, O_CLOEXEC), 0);
  assert_int_equal(pipe2(two, O_CLOEXEC), 0);
  assert_int_equal(write(one[1], "one\n", 4) + write(two[1], "two\n", 4), 8);
  const int passed[] = {two[0], one[0]};
  mp_process_run_options options = captured(SH("head -n1 <&3; head -n1 <&4"));
  options.spawn.fds = passed;
  options.spawn.fd_count = 2;
  run(state, &options, &got);
  assert_string_equal(got.out, "two\none\n");
  forget(&got);
  close(one[0]), close(one[1]), close(two[0]), close(two[1]);
}

static void limits_hold_in_the_child(void **state) {
  outcome got;
  const mp_spawn_rlimit limits[] = {{RLIMIT_NOFILE, {37, 37}}, {RLIMIT_CORE, {0, 0}}};
  mp_process_run_options options = captured(SH("ulimit -n; ulimit -c"));
  options.spawn.rlimits = limits;
  options.spawn.rlimit_count = 2;
  run(state, &options, &got);
  assert_string_equal(got.out, "37\n0\n");
  forget(&got);
}

static void a_terminal_is_one_in_every_way(void **state) {
  outcome got;
  mp_process_run_options options =
      captured(SH("test -t 0 && test -t 2 && stty size </dev/tty; ps -o tpgid= -p $$ | "
                  "grep -qx \" *$$ *\" && echo foreground; read line; echo got $line"));
  options.spawn.pty = true;
  options.spawn.rows = 33;
  options.spawn.columns = 77;
  options.input = "hello\n";
  options.input_len = 6;
  run(state, &options, &got);
  assert_int_equal(got.exit.code, 0);
  assert_non_null(strstr(got.out, "33 77\r\n"));
  assert_non_null(strstr(got.out, "foreground\r\n"));
  assert_non_null(strstr(got.out, "got hello\r\n"));
  forget(&got);
}

int main(void) {
  /* Orphans of ours come to us, so that a test can see how they ended. */
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const struct CMUnitTest tests[] = {
      TEST(exit_code_and_both_outputs_are_reported),
      TEST(the_signal_that_ended_it_is_reported),
      TEST(hostile_arguments_arrive_unchanged),
      TEST(an_explicit_environment_is_all_there_is),
      TEST(the_program_is_looked_up_in_the_childs_path),
      TEST(it_runs_in_the_directory_asked_for),
      TEST(a_program_that_cannot_run_is_an_error_with_the_reason),
      TEST(another_user_comes_with_all_its_groups_and_no_others),
      TEST(input_of_any_size_passes_through),
      TEST(files_are_truncated_or_appended_to),
      TEST(a_fifo_without_a_reader_does_not_stall_the_loop),
      TEST(a_timeout_ends_it_and_keeps_what_it_said),
      TEST(a_grandchild_that_holds_the_pipe_does_not_hang_the_capture),
      TEST(more_output_than_the_limit_stops_it),
      TEST(truncation_keeps_the_beginning_and_lets_it_finish),
      TEST(cancelling_ends_it_and_answers_once),
      TEST(two_hundred_at_once_keep_their_outputs_apart),
      TEST(no_descriptor_leaks_into_a_child),
      TEST(descriptors_are_passed_on_in_order),
      TEST(limits_hold_in_the_child),
      TEST(a_terminal_is_one_in_every_way),
  };
  return cmocka_run_group_tests(tests, warm_up, NULL);
}
