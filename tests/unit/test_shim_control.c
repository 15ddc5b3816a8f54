/* A device of the control protocol, whose peers come and go. Its double is the reading end of a
 * FIFO: like a virtio-serial port it is hung up while nobody is at the other end, and is not any
 * more when the next one comes. Answers are lost on it; what is asked is what counts here. */
#include "unit.h"

#include "core/shim/clock.h"
#include "core/shim/control.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  char path[64];
  mp_shim_loop loop;
  mp_shim_control control;
  mp_shim_timer guard; /* fails the test in place of hanging it */
  char lines[256];     /* what was asked, each with a blank behind it */
  int gone;            /* how often what was asked became void */
} port;

/* `wait` is answered never, everything else at once. */
static void on_line(mp_shim_client *client, char *line, size_t len) {
  port *p = client->control->owner;
  size_t used = strlen(p->lines);
  snprintf(p->lines + used, sizeof p->lines - used, "%.*s ", (int)len, line);
  if (len == 4 && memcmp(line, "wait", 4) == 0)
    client->held = true;
  else if (len > 5 && memcmp(line, "hello", 5) == 0)
    mp_shim_client_forget(client);
  mp_shim_client_ok(client, "{}");
}

static void on_gone(mp_shim_client *client) {
  port *p = client->control->owner;
  p->gone++;
}

static void on_guard(mp_shim_timer *timer) {
  (void)timer;
  fail_msg("nothing happens any more");
}

static int set_up(void **state) {
  port *p = calloc(1, sizeof *p);
  mp_shim_error err;
  snprintf(p->path, sizeof p->path, "/tmp/port.XXXXXX");
  if (mkdtemp(p->path) == NULL)
    return -1;
  strcat(p->path, "/fifo");
  if (mkfifo(p->path, 0600) < 0 || mp_shim_loop_open(&p->loop, &err) < 0)
    return -1;
  p->guard = (mp_shim_timer){.on_due = on_guard, .at = mp_shim_now_ms() + 30000};
  mp_shim_loop_add_timer(&p->loop, &p->guard);
  p->control = (mp_shim_control){
      .loop = &p->loop, .greeting = "hello\n", .on_line = on_line, .on_gone = on_gone, .owner = p};
  *state = p;
  return mp_shim_control_adopt_device(&p->control, open(p->path, O_RDONLY | O_NONBLOCK), &err);
}

static int tear_down(void **state) {
  port *p = *state;
  mp_shim_control_close(&p->control);
  mp_shim_loop_close(&p->loop);
  unlink(p->path);
  *strrchr(p->path, '/') = '\0';
  rmdir(p->path);
  free(p);
  return 0;
}

static void turn(port *p) {
  mp_shim_loop_turn(&p->loop);
  mp_shim_control_sweep(&p->control);
}

static int come(const port *p, const char *text) {
  int fd = open(p->path, O_WRONLY | O_CLOEXEC);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  return fd;
}

static void who_asks_and_leaves_at_once_is_forgotten(void **state) {
  port *p = *state;
  close(come(p, "\nhello one\nwait\n"));
  while (p->gone < 2) /* for its greeting, and when it has left */
    turn(p);
  assert_string_equal(p->lines, "hello one wait ");
  assert_false(p->control.clients->held);
  /* So is one that comes to a port that was left before, and is not seen there either. */
  p->lines[0] = '\0';
  p->gone = 0;
  close(come(p, "\nhello two\nwait\n"));
  while (p->gone < 2)
    turn(p);
  assert_false(p->control.clients->held);
  /* The next one is heard as if nothing had been. */
  p->lines[0] = '\0';
  int peer = come(p, "\nhello three\nstatus\n");
  turn(p);
  assert_string_equal(p->lines, "hello three status ");
  close(peer);
}

static void who_has_come_by_the_second_look_keeps_what_it_asked_for(void **state) {
  port *p = *state;
  close(come(p, "\nhello one\nwait\n"));
  turn(p);
  assert_int_equal(p->gone, 1);
  int peer = come(p, "");
  while (p->control.doubt.at > 0)
    turn(p);
  assert_int_equal(p->gone, 1);
  assert_true(p->control.clients->held);
  close(peer);
}

static void a_hello_is_heard_while_a_request_waits(void **state) {
  port *p = *state;
  int peer = come(p, "\nhello one\nwait\nstatus\n");
  turn(p);
  assert_string_equal(p->lines, "hello one wait ");
  assert_int_equal(write(peer, "torn\nhello two\nstatus\n", 22), 22);
  turn(p);
  assert_string_equal(p->lines, "hello one wait hello two status ");
  close(peer);
}

static void a_port_that_nobody_is_at_wakes_nobody(void **state) {
  enum { ROUNDS = 200 };
  port *p = *state;
  mp_shim_error err;
  int ends[2], turns = 0, answers = 0;
  close(come(p, "\nhello one\n"));
  while (p->gone < 2)
    turn(p);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  assert_int_equal(mp_shim_control_adopt(&p->control, ends[1], &err), 0);
  char answer[16];
  while (read(ends[0], answer, sizeof answer) > 0) /* the greeting */
    continue;
  for (; answers < ROUNDS; answers++) {
    p->lines[0] = '\0';
    assert_int_equal(write(ends[0], "status\n", 7), 7);
    for (ssize_t got = -1; got < 0; turns++) {
      turn(p);
      got = read(ends[0], answer, sizeof answer);
    }
  }
  /* Each turn of the loop is one event: with nothing from the port there is one for a request. */
  assert_in_range(turns, ROUNDS, ROUNDS + 2);
  close(ends[0]);
}

int main(void) {
#define port_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      port_test(who_asks_and_leaves_at_once_is_forgotten),
      port_test(who_has_come_by_the_second_look_keeps_what_it_asked_for),
      port_test(a_hello_is_heard_while_a_request_waits),
      port_test(a_port_that_nobody_is_at_wakes_nobody),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
