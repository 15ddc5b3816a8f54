/* What a service tells of itself: that it is ready, how it is. The service is
 * tests/fixtures/notifier.
 */
#include "driver.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONG = 4200 }; /* more than a datagram may have */

/* Has notifier be the service; its arguments end with NULL. A first `await=` gets the folder's FIFO
 * `go`. */
static void notifier(shim *s, ...) {
  va_list args;
  const char *word;
  spec_add(s, "notify=%s/notify", s->dir);
  spec_add(s, "arg=" NOTIFIER);
  va_start(args, s);
  while ((word = va_arg(args, const char *)) != NULL) {
    if (strcmp(word, "await") == 0)
      spec_add(s, "arg=await=%s/go", s->dir);
    else
      spec_add(s, "arg=%s", word);
  }
  va_end(args);
}

/* Lets it go on that awaits `go`: which it has made, or makes just now. */
static void go(const shim *s) {
  char path[128];
  snprintf(path, sizeof path, "%s/go", s->dir);
  mkfifo(path, 0600);
  int fd = open(path, O_WRONLY | O_CLOEXEC); /* waits until it reads */
  assert_true(fd >= 0);
  close(fd);
}

/* Runs notifier as a process of the test, which is none of the service's. Returns its exit code. */
static int stranger(const shim *s, char *say) {
  char path[128];
  snprintf(path, sizeof path, "NOTIFY_SOCKET=%s/notify", s->dir);
  char *environment[] = {path, NULL};
  char *argv[] = {(char *)NOTIFIER, say, (char *)"barrier", NULL};
  pid_t pid = fork();
  if (pid == 0) {
    execve(NOTIFIER, argv, environment);
    _exit(97);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_service_is_ready_once_it_says_so(void **state) {
  shim *s = *state;
  notifier(s, "say=STATUS=opening the books", "barrier", "print=asked", "await", "say=READY=1",
           "stay", NULL);
  shim_start_ok(s);
  wait_file(s, "log", "asked");
  shim_connect(s);
  assert_contains(
      shim_ask(s, "events"),
      "\"notify\":{\"ready\":false,\"stopping\":false,\"status\":\"opening the books\"}");
  go(s);
  assert_contains(shim_read_until(s, "\"ready\":true"), "\"state\":\"running\"");
  wait_state(s, "\"ready\":true");
  wait_file(s, "shim.log", "says that it is ready");
}

static void one_that_ends_before_was_never_ready(void **state) {
  shim *s = *state;
  char path[128];
  notifier(s, "say=STATUS=half way", "barrier", "exit=3", NULL);
  shim_start_ok(s);
  const char *record = wait_state(s, "\"failed\"");
  assert_contains(record, "\"ready\":false,\"stopping\":false,\"status\":\"half way\"");
  wait_gone((pid_t)json_number(strstr(record, "\"shim\""), "pid"));
  snprintf(path, sizeof path, "%s/notify", s->dir);
  assert_int_equal(access(path, F_OK), -1);
}

static void one_that_has_ended_is_not_ready_any_more(void **state) {
  shim *s = *state;
  notifier(s, "say=READY=1", "barrier", "await", "exit=0", NULL);
  shim_start_ok(s);
  wait_state(s, "\"ready\":true");
  go(s);
  assert_contains(wait_state(s, "\"exited\""), "\"ready\":false");
}

static void a_stranger_is_not_obeyed(void **state) {
  shim *s = *state;
  notifier(s, "await", "say=STATUS=its own", "stay", NULL);
  shim_start_ok(s);
  shim_connect(s);
  assert_int_equal(stranger(s, (char *)"say=READY=1\nSTATUS=lies"), 0);
  assert_contains(shim_ask(s, "status"),
                  "\"notify\":{\"ready\":false,\"stopping\":false,\"status\":null}");
  wait_file(s, "shim.log", "is none of the service's");
  shim_ask(s, "events");
  go(s);
  assert_contains(shim_read_until(s, "its own"), "\"ready\":false");
}

static void a_command_run_beside_it_is_none_of_it(void **state) {
  shim *s = *state;
  char line[1024];
  notifier(s, "stay", NULL);
  shim_start_ok(s);
  shim_connect(s);
  for (int own = 0; own < 2; own++) {
    /* It gets no NOTIFY_SOCKET; and where it has one, by itself or by a child, it is not believed.
     */
    int len =
        snprintf(line, sizeof line,
                 "exec\nspec version=1%carg=" NOTIFIER "%carg=%s%carg=say=READY=1%carg=barrier%c"
                 "%s%s%s%cend=1%c\nrun\n",
                 0, 0, own ? "child" : "", 0, 0, 0, own ? "env=NOTIFY_SOCKET=" : "umask=077",
                 own ? s->dir : "", own ? "/notify" : "", 0, 0);
    assert_int_equal(write(s->client, line, (size_t)len), len);
    if (!own) {
      shim_read_until(s, "end {\"code\":98");
      continue;
    }
    assert_contains(shim_read(s), "ok ");
    wait_file(s, "shim.log", "is none of the service's");
    shim_send(s, "kill KILL\n");
    shim_read_until(s, "end {");
  }
  assert_contains(shim_ask(s, "status"), "\"ready\":false");
}

static void what_descends_from_it_or_was_left_behind_speaks_for_it(void **state) {
  static const char *const ways[] = {"child", "orphan"};
  for (size_t i = 0; i < 2; i++) {
    shim *s = *state;
    if (i > 0) {
      shim_teardown(state);
      shim_setup(state);
      s = *state;
    }
    notifier(s, ways[i], "say=READY=1", "barrier", "stay", NULL);
    shim_start_ok(s);
    wait_state(s, "\"ready\":true");
  }
}

static void a_restart_begins_with_nothing_told(void **state) {
  shim *s = *state;
  spec_add(s, "restart=always");
  spec_add(s, "backoff_initial_ms=1");
  notifier(s, "await", "say=READY=1\nSTATUS=serving", "stay", NULL);
  shim_start_ok(s);
  go(s);
  wait_state(s, "\"ready\":true");
  shim_connect(s);
  assert_contains(shim_ask(s, "restart"),
                  "\"notify\":{\"ready\":false,\"stopping\":false,\"status\":null}");
  go(s);
  wait_state(s, "\"ready\":true");
  pid_t pid = service_pid(s);
  shim_ask(s, "events");
  kill(pid, SIGKILL);
  shim_read_until(s, "\"restarts\":1");
  assert_contains(s->line, "\"notify\":{\"ready\":false,\"stopping\":false,\"status\":null}");
  go(s);
  shim_read_until(s, "\"ready\":true");
}

static void one_that_stops_is_not_ready_and_cannot_become_so(void **state) {
  shim *s = *state;
  notifier(s, "say=READY=1", "say=WATCHDOG=1\nSTOPPING=1\nSTATUS=a\tb", "say=READY=1", "barrier",
           "print=done", "stay", NULL);
  shim_start_ok(s);
  wait_file(s, "log", "done");
  assert_contains(wait_state(s, "\"stopping\":true"), "\"state\":\"running\"");
  shim_connect(s);
  assert_contains(shim_ask(s, "status"),
                  "\"notify\":{\"ready\":false,\"stopping\":true,\"status\":\"a b\"}");
}

static void the_last_of_many_words_is_told(void **state) {
  shim *s = *state;
  notifier(s, "await", "say=STATUS=one", "say=STATUS=two", "say=STATUS=three", "stay", NULL);
  shim_start_ok(s);
  shim_connect(s);
  shim_ask(s, "events");
  go(s);
  shim_read_until(s, "\"status\":\"three\"");
  wait_state(s, "\"status\":\"three\"");
}

static void what_is_too_long_is_passed_over(void **state) {
  shim *s = *state;
  static char words[LONG + 32];
  int len = snprintf(words, sizeof words, "say=READY=1\nSTATUS=");
  memset(words + len, 'x', LONG);
  spec_add(s, "notify=%s/notify", s->dir);
  spec_add(s, "arg=" NOTIFIER);
  spec_add_bytes(s, "arg=", 4);
  s->spec_len--;
  spec_add_bytes(s, words, strlen(words));
  spec_add(s, "arg=barrier");
  spec_add(s, "arg=print=done");
  spec_add(s, "arg=stay");
  shim_start_ok(s);
  wait_file(s, "log", "done");
  shim_connect(s);
  assert_contains(shim_ask(s, "status"),
                  "\"notify\":{\"ready\":false,\"stopping\":false,\"status\":null}");
}

static void without_the_record_there_is_no_socket_and_no_word_of_it(void **state) {
  shim *s = *state;
  spec_add(s, "arg=" NOTIFIER);
  spec_add(s, "arg=say=READY=1");
  shim_start_ok(s);
  const char *record = wait_state(s, "\"failed\"");
  assert_contains(record, "\"code\":98");
  assert_null(strstr(record, "\"notify\""));
}

static void a_socket_that_cannot_be_made_is_told(void **state) {
  shim *s = *state;
  char path[128];
  snprintf(path, sizeof path, "%s/notify", s->dir);
  notifier(s, "stay", NULL);
  close(open(path, O_CREAT | O_WRONLY, 0600));
  shim_start(s, NULL);
  assert_contains(s->ready, "error EEXIST");
  unlink(path);
  /* One that a killed shim has left is no hindrance. */
  assert_int_equal(mknod(path, S_IFSOCK | 0600, 0), 0);
  shim_start_ok(s);
}

static int run(void) {
#define shim_test(name) cmocka_unit_test_setup_teardown(name, shim_setup, shim_teardown)
  const struct CMUnitTest tests[] = {
      shim_test(a_service_is_ready_once_it_says_so),
      shim_test(one_that_ends_before_was_never_ready),
      shim_test(one_that_has_ended_is_not_ready_any_more),
      shim_test(a_stranger_is_not_obeyed),
      shim_test(a_command_run_beside_it_is_none_of_it),
      shim_test(what_descends_from_it_or_was_left_behind_speaks_for_it),
      shim_test(a_restart_begins_with_nothing_told),
      shim_test(one_that_stops_is_not_ready_and_cannot_become_so),
      shim_test(the_last_of_many_words_is_told),
      shim_test(what_is_too_long_is_passed_over),
      shim_test(without_the_record_there_is_no_socket_and_no_word_of_it),
      shim_test(a_socket_that_cannot_be_made_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return driver_main(argc, argv, run);
}
