/* The control protocol, and the agent that speaks it over a given socket or device. */
#include "driver.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void a_shim_whose_directory_was_removed_ends_with_its_service(void **state) {
  shim *s = *state;
  static const char *const files[] = {"state.json", "shim.log", "shim.lock", "log", "sock"};
  char path[128];
  spec_add(s, "arg=/bin/sleep");
  spec_add(s, "arg=1000");
  shim_start_ok(s);
  pid_t service = service_pid(s), own = shim_pid(s);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(path, sizeof path, "%s/%s", s->dir, files[i]);
    assert_int_equal(unlink(path), 0);
  }
  assert_int_equal(rmdir(s->dir), 0);
  kill(service, SIGKILL);
  wait_gone(own);
}

static void garbage_on_the_socket_harms_nobody(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  int noise = shim_dial(s);
  unsigned seed = 1;
  for (int i = 0; i < 200; i++) {
    char bytes[777];
    for (size_t j = 0; j < sizeof bytes; j++)
      bytes[j] = (char)((seed = seed * 1103515245 + 12345) >> 16);
    if (send(noise, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
      break;
  }
  shim_connect(s);
  assert_contains(shim_ask(s, "no-such-thing x"), "error unknown-request");
  assert_contains(shim_ask(s, "stop grace_ms=soon"), "error invalid");
  assert_contains(shim_ask(s, "status extra"), "error invalid");
  assert_contains(shim_ask(s, "hello"), "moonport-shim 1 ");
  assert_contains(shim_ask(s, "version"), "\"protocol\":1");
  assert_contains(shim_ask(s, "status"), "\"running\"");
  close(noise);
}

static void an_overlong_request_is_refused_and_the_next_one_served(void **state) {
  shim *s = *state;
  char line[5000];
  memset(line, 'a', sizeof line - 1);
  line[sizeof line - 1] = '\0';
  sleeper(s);
  shim_start_ok(s);
  shim_connect(s);
  assert_contains(shim_ask(s, line), "error too-long");
  assert_contains(shim_ask(s, "status"), "\"running\"");
}

static void a_client_that_does_not_read_blocks_nobody(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  int lazy = shim_dial(s);
  for (int i = 0; i < 5000; i++)
    if (send(lazy, "status\n", 7, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
      break;
  shim_connect(s);
  assert_contains(shim_ask(s, "status"), "\"running\"");
  close(lazy);
}

static bool sleeps(pid_t pid) {
  char path[32], text[256] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(read(fd, text, sizeof text - 1) > 0);
  close(fd);
  return strstr(text, ") S ") != NULL;
}

static void a_shim_without_free_descriptors_waits_for_them_asleep(void **state) {
  shim *s = *state;
  struct rlimit before, few = {.rlim_cur = 24};
  int clients[24];
  spec_add(s, "arg=/bin/sleep");
  spec_add(s, "arg=1000");
  getrlimit(RLIMIT_NOFILE, &before);
  few.rlim_max = before.rlim_max;
  setrlimit(RLIMIT_NOFILE, &few);
  shim_start_ok(s);
  setrlimit(RLIMIT_NOFILE, &before);
  pid_t own = shim_pid(s);
  for (int i = 0; i < 24; i++)
    clients[i] = shim_dial(s); /* the last ones are not accepted */
  assert_contains(shim_ask(s, "status"), "ok ");
  for (int tries = 0; !sleeps(own) && tries < 100000; tries++)
    sched_yield();
  assert_true(sleeps(own));
  for (int i = 0; i < 24; i++)
    close(clients[i]);
  shim_connect(s); /* behind them */
  assert_contains(shim_ask(s, "status"), "ok ");
}

static void pipelined_requests_are_answered_in_order(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_ok(s);
  shim_connect(s);
  shim_send(s, "version\nrestart\nbogus\nstop\n");
  assert_contains(shim_read(s), "\"protocol\"");
  assert_contains(shim_read(s), "\"running\"");
  assert_contains(shim_read(s), "error unknown-request");
  assert_contains(shim_read(s), "\"exited\"");
}

static void an_agent_stays_and_starts_again_over_a_given_socket(void **state) {
  shim *s = *state;
  int ends[2];
  char number[12];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  snprintf(number, sizeof number, "%d", ends[1]);
  sleeper(s);
  shim_start(s, "--stay", "--foreground", "--socket-fd", number, NULL);
  close(ends[1]);
  assert_contains(s->ready, "ok ");
  s->client = ends[0];
  assert_contains(shim_read(s), "moonport-shim 1 ");
  assert_contains(shim_ask(s, "stop"), "\"exited\"");
  assert_contains(shim_ask(s, "status"), "\"exited\"");
  assert_contains(shim_ask(s, "start"), "\"running\"");
  assert_contains(shim_ask(s, "shutdown"), "\"exited\"");
  assert_null(shim_read(s));
}

static void an_agent_speaks_over_a_character_device(void **state) {
  shim *s = *state;
  sleeper(s);
  shim_start_on_device(s);
  assert_int_equal(write(s->client, "left over by another\nhalf a li\nhello w0rd\n", 42), 42);
  shim_read_until(s, " w0rd");
  assert_int_equal(write(s->client, "status\nshutdown\n", 16), 16);
  assert_contains(shim_read(s), "\"running\"");
  assert_contains(shim_read(s), "\"exited\"");
}

static int run(void) {
#define shim_test(name) cmocka_unit_test_setup_teardown(name, shim_setup, shim_teardown)
  const struct CMUnitTest tests[] = {
      shim_test(a_shim_whose_directory_was_removed_ends_with_its_service),
      shim_test(garbage_on_the_socket_harms_nobody),
      shim_test(an_overlong_request_is_refused_and_the_next_one_served),
      shim_test(a_client_that_does_not_read_blocks_nobody),
      shim_test(a_shim_without_free_descriptors_waits_for_them_asleep),
      shim_test(pipelined_requests_are_answered_in_order),
      shim_test(an_agent_stays_and_starts_again_over_a_given_socket),
      shim_test(an_agent_speaks_over_a_character_device),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return driver_main(argc, argv, run);
}
