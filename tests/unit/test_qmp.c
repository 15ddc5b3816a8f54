/* The QMP connection against a QEMU that the test plays, byte by byte. */
#include "unit.h"

#include "core/buf.h"
#include "core/mem.h"
#include "core/stream.h"
#include "core/vm/qmp.h"
#include "core/vm/qmp_message.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREETING                                                                                   \
  "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7}}, "               \
  "\"capabilities\": []}}\r\n"

typedef struct {
  mp_loop loop;
  char dir[32], path[64];
  mp_listener *listener;
  mp_stream *server;
  mp_buf heard; /* by the server */
  mp_qmp *qmp;
  int connects, answers, events;
  mp_buf got;
  mp_error err;
} fixture;

static int set_up(void **state) {
  mp_error err = MP_ERROR_INIT;
  fixture *self = mp_alloc(sizeof *self);
  *state = self;
  strcpy(self->dir, "/tmp/mp-qmp-XXXXXX");
  if (!mkdtemp(self->dir))
    return -1;
  snprintf(self->path, sizeof self->path, "%s/qmp", self->dir);
  mp_stream_address address = {.path = self->path};
  return mp_loop_init(&self->loop, &err) < 0 ||
         mp_stream_listen(&self->loop, &address, &self->listener, &err) < 0;
}

static int tear_down(void **state) {
  fixture *self = *state;
  mp_qmp_close(self->qmp);
  mp_stream_close(self->server);
  mp_listener_close(self->listener);
  mp_loop_close(&self->loop);
  mp_buf_free(&self->heard);
  mp_buf_free(&self->got);
  mp_error_reset(&self->err);
  rmdir(self->dir);
  free(self);
  return 0;
}

static void note_error(fixture *self, const mp_error *err) {
  if (err)
    mp_error_copy(&self->err, err);
}

static void on_connect(void *data, mp_qmp *qmp, const mp_error *err) {
  fixture *self = data;
  self->connects++;
  self->qmp = qmp;
  note_error(self, err);
}

static void on_answer(void *data, const char *json, size_t len, const mp_error *err) {
  fixture *self = data;
  self->answers++;
  if (json)
    mp_buf_append(&self->got, json, len);
  note_error(self, err);
}

static void on_event(void *data, const mp_qmp_event *event, const mp_error *err) {
  fixture *self = data;
  self->events++;
  if (event)
    mp_buf_printf(&self->got, "%s %s %.1f;", event->name, event->data, event->time);
  note_error(self, err);
}

static void on_accept(void *data, mp_stream *stream, const mp_error *err) {
  fixture *self = data;
  note_error(self, err);
  self->server = stream;
}

static void on_heard(void *data, const char *bytes, size_t len) {
  fixture *self = data;
  if (bytes)
    mp_buf_append(&self->heard, bytes, len);
}

static void on_written(void *data, const mp_error *err) {
  note_error(data, err);
}

static void turn_until(fixture *self, const int *count, int wanted) {
  while (*count < wanted)
    uv_run(&self->loop.uv, UV_RUN_ONCE);
}

static void say(fixture *self, const char *text) {
  mp_op *op;
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_stream_write(self->server, text, strlen(text), on_written, self, &op, &err),
                   0);
}

static void hear_lines(fixture *self, size_t lines) {
  for (;;) {
    size_t count = 0;
    for (size_t i = 0; i < self->heard.len; i++)
      count += self->heard.data[i] == '\n';
    if (count >= lines)
      return;
    uv_run(&self->loop.uv, UV_RUN_ONCE);
  }
}

static void begin_connecting(fixture *self, mp_op **op) {
  mp_op *accepting;
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_listener_accept(self->listener, on_accept, self, &accepting, &err), 0);
  assert_int_equal(mp_qmp_connect(&self->loop, self->path, on_connect, self, op, &err), 0);
  while (!self->server)
    uv_run(&self->loop.uv, UV_RUN_ONCE);
  mp_stream_push(self->server, on_heard, self);
}

static void connect_both(fixture *self) {
  mp_op *op;
  begin_connecting(self, &op);
  say(self, GREETING);
  hear_lines(self, 1);
  assert_string_equal(self->heard.data, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
  say(self, "{\"return\": {}, \"id\": 1}\r\n");
  turn_until(self, &self->connects, 1);
  assert_non_null(self->qmp);
  mp_buf_clear(&self->heard);
}

static mp_op *execute(fixture *self, const char *command, const char *arguments) {
  mp_op *op;
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_qmp_execute(self->qmp, command, arguments, -1, on_answer, self, &op, &err),
                   0);
  return op;
}

static mp_op *next_event(fixture *self) {
  mp_op *op;
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_qmp_next_event(self->qmp, on_event, self, &op, &err), 0);
  return op;
}

static void it_greets_and_leaves_negotiation(void **state) {
  fixture *self = *state;
  connect_both(self);
  assert_non_null(strstr(mp_qmp_greeting(self->qmp), "\"minor\": 2"));
}

static void commands_are_answered_in_order(void **state) {
  fixture *self = *state;
  connect_both(self);
  execute(self, "query-status", NULL);
  execute(self, "device_del", "{\"id\":\"x\"}");
  hear_lines(self, 2);
  assert_string_equal(self->heard.data,
                      "{\"execute\":\"query-status\",\"id\":2}\n"
                      "{\"execute\":\"device_del\",\"id\":3,\"arguments\":{\"id\":\"x\"}}\n");
  say(self, "{\"return\": {\"running\": true}, \"id\": 2}\r\n{\"id\": 3, \"return\": []}\r\n");
  turn_until(self, &self->answers, 2);
  assert_string_equal(self->got.data, "{\"running\": true}[]");
}

static void a_torn_line_is_put_together(void **state) {
  fixture *self = *state;
  static const char text[] = "{\"return\": {\"a\": \"}\\\"{\"}, \"id\": 2}\r\n";
  connect_both(self);
  execute(self, "query-x", NULL);
  for (size_t i = 0; text[i]; i++) {
    say(self, (char[]){text[i], '\0'});
    uv_run(&self->loop.uv, UV_RUN_NOWAIT);
  }
  turn_until(self, &self->answers, 1);
  assert_string_equal(self->got.data, "{\"a\": \"}\\\"{\"}");
}

static void a_refusal_keeps_qemus_words(void **state) {
  fixture *self = *state;
  connect_both(self);
  execute(self, "device_add", NULL);
  say(self, "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"Device 'x\\u00e9' not "
            "found\"}, \"id\": 2}\r\n");
  turn_until(self, &self->answers, 1);
  assert_string_equal(self->err.code, "not-found");
  assert_string_equal(self->err.message, "qemu refused `device_add`: Device 'x\xc3\xa9' not found "
                                         "(DeviceNotFound)");
}

static void events_wait_to_be_asked_for(void **state) {
  fixture *self = *state;
  connect_both(self);
  execute(self, "query-x", NULL);
  say(self, "{\"timestamp\": {\"seconds\": 7, \"microseconds\": 500000}, \"event\": \"STOP\"}\r\n"
            "{\"return\": 1, \"id\": 2}\r\n"
            "{\"timestamp\": {\"seconds\": 8}, \"event\": \"RESET\", \"data\": {\"g\": 1}}\r\n");
  turn_until(self, &self->answers, 1);
  mp_buf_clear(&self->got);
  next_event(self);
  turn_until(self, &self->events, 1);
  next_event(self);
  turn_until(self, &self->events, 2);
  assert_string_equal(self->got.data, "STOP  7.5;RESET {\"g\": 1} 8.0;");
}

static void more_events_than_are_kept_are_told_as_lost(void **state) {
  fixture *self = *state;
  connect_both(self);
  execute(self, "query-x", NULL);
  for (int i = 0; i < MP_QMP_EVENTS_MAX + 5; i++)
    say(self, "{\"event\": \"E\"}\r\n");
  say(self, "{\"return\": 1, \"id\": 2}\r\n");
  turn_until(self, &self->answers, 1);
  for (int i = 1; i <= MP_QMP_EVENTS_MAX; i++) {
    next_event(self);
    turn_until(self, &self->events, i);
  }
  mp_buf_clear(&self->got);
  next_event(self);
  turn_until(self, &self->events, MP_QMP_EVENTS_MAX + 1);
  assert_string_equal(self->got.data, "LOST  0.0;");
}

static void a_message_without_an_end_is_refused(void **state) {
  fixture *self = *state;
  size_t size = 64 * 1024;
  char *block = mp_alloc(size + 1);
  memset(block, 'x', size);
  connect_both(self);
  execute(self, "query-x", NULL);
  say(self, "{\"return\": \"");
  for (size_t sent = 0; sent <= MP_QMP_LINE_MAX && self->answers == 0; sent += size) {
    say(self, block);
    uv_run(&self->loop.uv, UV_RUN_ONCE);
  }
  free(block);
  turn_until(self, &self->answers, 1);
  assert_true(mp_error_is(&self->err, MP_LIMIT) || mp_error_is(&self->err, "EPIPE"));
}

static void nonsense_breaks_the_connection_off(void **state) {
  fixture *self = *state;
  mp_op *op;
  mp_error err = MP_ERROR_INIT;
  connect_both(self);
  execute(self, "query-x", NULL);
  next_event(self);
  say(self, "HTTP/1.1 400 Bad Request\r\n");
  turn_until(self, &self->answers, 1);
  turn_until(self, &self->events, 1);
  assert_true(mp_error_is(&self->err, MP_PROTOCOL));
  assert_int_equal(mp_qmp_execute(self->qmp, "quit", NULL, -1, on_answer, self, &op, &err), -1);
  assert_true(mp_error_is(&err, MP_PROTOCOL));
  mp_error_reset(&err);
}

static void an_answer_to_nothing_breaks_it_off(void **state) {
  fixture *self = *state;
  connect_both(self);
  next_event(self);
  say(self, "{\"return\": {}, \"id\": 9}\r\n");
  turn_until(self, &self->events, 1);
  assert_true(mp_error_is(&self->err, MP_PROTOCOL));
}

static void its_end_is_told_to_all(void **state) {
  fixture *self = *state;
  connect_both(self);
  execute(self, "quit", NULL);
  execute(self, "query-x", NULL);
  next_event(self);
  mp_stream_close(mp_steal(self->server));
  turn_until(self, &self->answers, 2);
  turn_until(self, &self->events, 1);
  assert_true(mp_error_is(&self->err, "closed"));
}

static void what_is_cancelled_ends_once_and_the_rest_goes_on(void **state) {
  fixture *self = *state;
  connect_both(self);
  mp_op *first = execute(self, "query-a", NULL);
  execute(self, "query-b", NULL);
  mp_op_cancel(first);
  assert_int_equal(self->answers, 0);
  turn_until(self, &self->answers, 1);
  assert_true(mp_error_is(&self->err, MP_CANCELLED));
  say(self, "{\"return\": \"a\", \"id\": 2}\r\n{\"return\": \"b\", \"id\": 3}\r\n");
  turn_until(self, &self->answers, 2);
  assert_string_equal(self->got.data, "\"b\"");
}

static void connecting_can_be_cancelled_while_qemu_is_silent(void **state) {
  fixture *self = *state;
  mp_op *op;
  begin_connecting(self, &op);
  mp_op_cancel(op);
  assert_int_equal(self->connects, 0);
  turn_until(self, &self->connects, 1);
  assert_null(self->qmp);
  assert_true(mp_error_is(&self->err, MP_CANCELLED));
}

static void a_socket_that_is_not_there_is_told(void **state) {
  fixture *self = *state;
  mp_op *op;
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_qmp_connect(&self->loop, "/nowhere/qmp", on_connect, self, &op, &err), 0);
  turn_until(self, &self->connects, 1);
  assert_true(mp_error_is(&self->err, "ENOENT"));
}

static void closing_ends_what_is_under_way(void **state) {
  fixture *self = *state;
  connect_both(self);
  execute(self, "query-x", NULL);
  next_event(self);
  mp_qmp_close(mp_steal(self->qmp));
  assert_int_equal(self->answers + self->events, 0);
  turn_until(self, &self->answers, 1);
  turn_until(self, &self->events, 1);
  assert_true(mp_error_is(&self->err, MP_CANCELLED));
}

static void a_descriptor_goes_along(void **state) {
  fixture *self = *state;
  char control[CMSG_SPACE(sizeof(int))], byte = 'x', bytes[256];
  int ends[2], passed;
  mp_op *op;
  mp_error err = MP_ERROR_INIT;
  connect_both(self);
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  int fd = dup(mp_stream_fd(self->server)); /* read here and not by the stream */
  mp_stream_close(mp_steal(self->server));
  assert_int_equal(
      mp_qmp_execute(self->qmp, "getfd", "{\"fdname\":\"f\"}", ends[1], on_answer, self, &op, &err),
      0);
  struct iovec part = {bytes, sizeof bytes};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  assert_true(recvmsg(fd, &message, MSG_CMSG_CLOEXEC) > 0);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  assert_non_null(header);
  memcpy(&passed, CMSG_DATA(header), sizeof passed);
  assert_int_equal(write(passed, &byte, 1), 1);
  byte = 0;
  assert_int_equal(read(ends[0], &byte, 1), 1);
  assert_int_equal(byte, 'x');
  close(passed);
  close(ends[0]);
  close(ends[1]);
  close(fd);
  turn_until(self, &self->answers, 1);
}

static void parts_are_found_in_any_order(void **state) {
  (void)state;
  mp_qmp_message message;
  mp_error err = MP_ERROR_INIT;
  static const char text[] = " { \"data\" : { \"a\\\"b\" : [1, {\"c\": \"}\"}], \"d\": \"\\ud83d"
                             "\\ude00\\n\" } , \"event\":\"X_Y\" } ";
  assert_int_equal(mp_qmp_parse(text, strlen(text), &message, &err), 0);
  assert_int_equal(message.kind, MP_QMP_EVENT);
  assert_memory_equal(message.name.text, "X_Y", message.name.len);
  mp_auto_free char *d = mp_qmp_string(mp_qmp_member(message.body, "d"));
  assert_string_equal(d, "\xf0\x9f\x98\x80\n");
  assert_null(mp_qmp_member(message.body, "c").text);
}

static void what_is_no_message_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "{",
                                    "[]",
                                    "{}",
                                    "{\"a\":1}",
                                    "{\"return\":}",
                                    "{\"return\":{]}",
                                    "{\"return\":{}}x",
                                    "{\"return\":\"}",
                                    "{\"event\":3}",
                                    "{\"event\":\"A B\"}",
                                    "{\"return\" 1}",
                                    "{,\"return\":1}",
                                    "{\"return\":1,}"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    mp_qmp_message message;
    mp_auto_error mp_error err = MP_ERROR_INIT;
    assert_int_equal(mp_qmp_parse(bad[i], strlen(bad[i]), &message, &err), -1);
    assert_true(mp_error_is(&err, MP_PROTOCOL));
  }
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(it_greets_and_leaves_negotiation),
      test(commands_are_answered_in_order),
      test(a_torn_line_is_put_together),
      test(a_refusal_keeps_qemus_words),
      test(events_wait_to_be_asked_for),
      test(more_events_than_are_kept_are_told_as_lost),
      test(a_message_without_an_end_is_refused),
      test(nonsense_breaks_the_connection_off),
      test(an_answer_to_nothing_breaks_it_off),
      test(its_end_is_told_to_all),
      test(what_is_cancelled_ends_once_and_the_rest_goes_on),
      test(connecting_can_be_cancelled_while_qemu_is_silent),
      test(a_socket_that_is_not_there_is_told),
      test(closing_ends_what_is_under_way),
      test(a_descriptor_goes_along),
      cmocka_unit_test(parts_are_found_in_any_order),
      cmocka_unit_test(what_is_no_message_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
