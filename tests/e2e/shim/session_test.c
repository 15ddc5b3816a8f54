/* Commands that clients run beside the service, over a socket and over a device. */
#include "driver.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static void say(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t wrote = write(fd, bytes, len);
    assert_true(wrote > 0);
    bytes += wrote;
    len -= (size_t)wrote;
  }
}

/* A literal with its inner NULs. */
#define say_literal(fd, text) say(fd, text, sizeof(text) - 1)

/* `exec OPTIONS` of a shell script, which holds no character that is escaped. */
static void run_script(shim *s, const char *options, const char *script) {
  char line[1024];
  int len = snprintf(line, sizeof line,
                     "exec%s\nspec version=1%carg=/bin/sh%carg=-c%carg=%s%cend=1%c\nrun\n", options,
                     0, 0, 0, script, 0, 0);
  say(s->client, line, (size_t)len);
}

static void start(shim *s) {
  spec_add(s, "env=PATH=/usr/bin:/bin");
  spec_add(s, "env=KEPT=kept");
  sleeper(s);
  shim_start_ok(s);
  shim_connect(s);
}

static void a_command_gets_its_input_and_tells_its_output_and_its_end(void **state) {
  shim *s = *state;
  start(s);
  run_script(s, " input=1", "cat; echo $KEPT >&2; exit 3");
  assert_contains(shim_read(s), "ok {\"pid\":");
  shim_send(s, "in one\\ntwo\\\\\\r\neof\n");
  assert_string_equal(shim_read(s), "took 9");
  assert_string_equal(shim_read(s), "out one\\ntwo\\\\\\r");
  assert_string_equal(shim_read(s), "err kept\\n");
  assert_string_equal(shim_read(s), "end {\"code\":3,\"signal\":null}");
  assert_contains(shim_ask(s, "status"), "\"running\"");
}

static void what_cannot_be_run_is_refused_and_the_connection_goes_on(void **state) {
  shim *s = *state;
  start(s);
  say_literal(s->client, "exec\nspec version=1\0arg=no-such-program\0end=1\0\nrun\n");
  assert_contains(shim_read(s), "error ENOENT");
  say_literal(s->client, "exec\nspec version=1\0arg=true\0\nrun\n");
  assert_contains(shim_read(s), "error invalid the spec is cut short");
  shim_send(s, "exec\nstatus\n");
  assert_contains(shim_read(s), "error invalid");
  assert_contains(shim_ask(s, "exec rows=1"), "error invalid");
  assert_contains(shim_ask(s, "exec rows=0 columns=70000"), "error invalid");
  assert_contains(shim_ask(s, "status"), "\"running\"");
}

static void another_request_while_a_command_runs_is_refused(void **state) {
  shim *s = *state;
  start(s);
  run_script(s, " input=1", "read x; echo $x");
  assert_contains(shim_read(s), "ok ");
  assert_contains(shim_ask(s, "status"), "error busy");
  shim_send(s, "in x\\n\n");
  shim_read_until(s, "end {\"code\":0");
  /* What was on its way when it ended is no request. */
  shim_send(s, "in more\neof\nwindow 1 1\nkill TERM\n");
  assert_contains(shim_ask(s, "status"), "\"running\"");
}

static void more_input_than_may_be_under_way_ends_the_command(void **state) {
  shim *s = *state;
  char line[1002];
  start(s);
  run_script(s, " input=1", "exec sleep 1000");
  assert_contains(shim_read(s), "ok ");
  memset(line, 'x', sizeof line);
  memcpy(line, "in ", 3);
  line[sizeof line - 1] = '\n';
  /* The pipe takes 64 KiB; nobody reads it. */
  for (int i = 0; i < 120; i++)
    say(s->client, line, sizeof line);
  shim_read_until(s, "error limit");
  shim_disconnect(s);
  shim_connect(s);
  assert_contains(shim_ask(s, "status"), "\"running\"");
}

static void signals_go_to_the_whole_group(void **state) {
  shim *s = *state;
  start(s);
  run_script(s, "", "sleep 1000 & wait");
  assert_contains(shim_read(s), "ok ");
  shim_send(s, "kill KILL\n");
  assert_contains(shim_read(s), "end {\"code\":null,\"signal\":\"KILL\"}");
}

static void who_goes_away_hangs_its_command_up(void **state) {
  shim *s = *state;
  start(s);
  run_script(s, "", "trap '' PIPE HUP; echo $$; sleep 1000; sleep 1000");
  assert_contains(shim_read(s), "ok ");
  pid_t pid = (pid_t)json_number(s->line, "pid");
  shim_read_until(s, "out ");
  shim_disconnect(s);
  wait_gone(pid); /* it ignores the hang-up, and is killed */
  shim_connect(s);
  assert_contains(shim_ask(s, "status"), "\"running\"");
}

static void a_command_is_none_of_the_service(void **state) {
  shim *s = *state;
  start(s);
  run_script(s, " input=1", "read x; echo survived");
  assert_contains(shim_read(s), "ok ");
  int other = shim_dial(s), command = s->client;
  s->client = other;
  shim_read_until(s, "moonport-shim 1 ");
  assert_contains(shim_ask(s, "restart grace_ms=1000"), "\"running\"");
  s->client = command;
  close(other);
  shim_send(s, "in x\\n\n");
  shim_read_until(s, "out survived");
  assert_contains(shim_read(s), "end {\"code\":0");
}

static void a_new_peer_on_a_device_ends_what_the_last_one_had_under_way(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_on_device(s);
  shim_read_until(s, "moonport-shim 1 ");
  run_script(s, "", "echo $$; exec /bin/sleep 1000");
  shim_read_until(s, "ok ");
  pid_t pid = (pid_t)json_number(s->line, "pid");
  say_literal(s->client, "half a li\nhello second\n");
  shim_read_until(s, " second");
  wait_gone(pid);
  /* In the middle of a spec, too. */
  say_literal(s->client, "exec\nspec version=1\n\nhello third\n");
  shim_read_until(s, " third");
  /* And while the last one's request is not answered. */
  say_literal(s->client, "wait\nstat\nhello fourth\nshutdown\n");
  shim_read_until(s, " fourth");
  assert_contains(shim_read(s), "\"exited\"");
}

static int run(void) {
#define shim_test(name) cmocka_unit_test_setup_teardown(name, shim_setup, shim_teardown)
  const struct CMUnitTest tests[] = {
      shim_test(a_command_gets_its_input_and_tells_its_output_and_its_end),
      shim_test(what_cannot_be_run_is_refused_and_the_connection_goes_on),
      shim_test(another_request_while_a_command_runs_is_refused),
      shim_test(more_input_than_may_be_under_way_ends_the_command),
      shim_test(signals_go_to_the_whole_group),
      shim_test(who_goes_away_hangs_its_command_up),
      shim_test(a_command_is_none_of_the_service),
      shim_test(a_new_peer_on_a_device_ends_what_the_last_one_had_under_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return driver_main(argc, argv, run);
}
