#include "unit.h"

#include "core/buf.h"
#include "core/mem.h"
#include "core/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A loop, a listener and both ends of one connection. */
typedef struct {
  mp_loop loop;
  mp_listener *listener;
  mp_stream *client;
  mp_stream *server;
  mp_buf got;
  int reads, ends, writes, connects;
  mp_error err;
} fixture;

static int set_up(void **state) {
  mp_error err = MP_ERROR_INIT;
  fixture *self = mp_alloc(sizeof *self);
  *state = self;
  return mp_loop_init(&self->loop, &err);
}

static int tear_down(void **state) {
  fixture *self = *state;
  mp_stream_close(self->client);
  mp_stream_close(self->server);
  mp_listener_close(self->listener);
  mp_loop_close(&self->loop);
  mp_buf_free(&self->got);
  mp_error_reset(&self->err);
  free(self);
  return 0;
}

static void on_read(void *data, const char *bytes, size_t len, const mp_error *err) {
  fixture *self = data;
  self->reads++;
  if (err)
    mp_error_copy(&self->err, err);
  else if (bytes)
    mp_buf_append(&self->got, bytes, len);
  else
    self->ends++;
}

static void on_write(void *data, const mp_error *err) {
  fixture *self = data;
  self->writes++;
  if (err)
    mp_error_copy(&self->err, err);
}

static void on_connect(void *data, mp_stream *stream, const mp_error *err) {
  fixture *self = data;
  self->connects++;
  self->client = stream;
  if (err)
    mp_error_copy(&self->err, err);
}

static void on_accept(void *data, mp_stream *stream, const mp_error *err) {
  fixture *self = data;
  if (err)
    mp_error_copy(&self->err, err);
  self->server = stream;
}

static void connect_to(fixture *self, const mp_stream_address *address, uint64_t timeout) {
  mp_op *op;
  assert_int_equal(
      mp_stream_connect(&self->loop, address, timeout, on_connect, self, &op, &self->err), 0);
  assert_int_equal(self->connects, 0);
}

/* Listens on loopback and connects to it by a name, so that resolving takes part. */
static void connect_both(fixture *self) {
  mp_op *op;
  mp_stream_address here = {.host = "127.0.0.1"};
  assert_int_equal(mp_stream_listen(&self->loop, &here, &self->listener, &self->err), 0);
  assert_int_equal(mp_listener_accept(self->listener, on_accept, self, &op, &self->err), 0);
  mp_stream_address there = {.host = "localhost", .port = mp_listener_port(self->listener)};
  connect_to(self, &there, 5000);
  mp_loop_run(&self->loop);
  assert_null(self->err.domain);
  assert_non_null(self->client);
  assert_non_null(self->server);
}

static void send_text(fixture *self, mp_stream *to, const char *text) {
  mp_op *op;
  assert_int_equal(mp_stream_write(to, text, strlen(text), on_write, self, &op, &self->err), 0);
}

static void read_line(fixture *self, mp_stream *from, size_t limit) {
  mp_op *op;
  assert_int_equal(mp_stream_read_line(from, limit, on_read, self, &op, &self->err), 0);
  mp_loop_run(&self->loop);
}

static void lines_and_blocks_can_be_mixed(void **state) {
  fixture *self = *state;
  mp_op *op;
  connect_both(self);
  send_text(self, self->client, "HEAD\r\nbody\nrest");
  mp_stream_end(self->client);
  read_line(self, self->server, 100);
  assert_string_equal(self->got.data, "HEAD");
  assert_int_equal(mp_stream_read(self->server, 2, on_read, self, &op, &self->err), 0);
  mp_loop_run(&self->loop);
  assert_string_equal(self->got.data, "HEADbo");
  const char *line;
  size_t len;
  assert_true(mp_stream_take_line(self->server, 100, &line, &len));
  assert_int_equal(len, 2);
  assert_int_equal(mp_stream_read_all(self->server, 100, on_read, self, &op, &self->err), 0);
  mp_loop_run(&self->loop);
  assert_string_equal(self->got.data, "HEADborest");
  read_line(self, self->server, 100);
  assert_int_equal(self->ends, 1);
  assert_null(self->err.domain);
}

static void one_half_can_end_while_the_other_goes_on(void **state) {
  fixture *self = *state;
  connect_both(self);
  mp_stream_end(self->client);
  read_line(self, self->server, 100);
  assert_int_equal(self->ends, 1);
  send_text(self, self->server, "still here\n");
  read_line(self, self->client, 100);
  assert_string_equal(self->got.data, "still here");
  mp_op *op;
  assert_int_equal(mp_stream_write(self->client, "x", 1, on_write, self, &op, &self->err), -1);
  assert_string_equal(self->err.code, "closed");
}

static void a_line_over_the_limit_is_an_error_and_can_still_be_read(void **state) {
  fixture *self = *state;
  connect_both(self);
  send_text(self, self->client, "1234567890\n");
  read_line(self, self->server, 5);
  assert_true(mp_error_is(&self->err, MP_LIMIT));
  read_line(self, self->server, 10);
  assert_string_equal(self->got.data, "1234567890");
}

static void a_second_read_is_refused(void **state) {
  fixture *self = *state;
  mp_op *op;
  connect_both(self);
  assert_int_equal(mp_stream_read(self->client, 9, on_read, self, &op, &self->err), 0);
  mp_error err = MP_ERROR_INIT;
  mp_op *second;
  assert_int_equal(mp_stream_read(self->client, 9, on_read, self, &second, &err), -1);
  assert_string_equal(err.code, "busy");
  mp_error_reset(&err);
  mp_op_cancel(op);
  assert_int_equal(self->reads, 0);
  mp_loop_run(&self->loop);
  assert_int_equal(self->reads, 1);
  assert_true(mp_error_is(&self->err, MP_CANCELLED));
}

static void a_reader_that_stops_slows_the_writer(void **state) {
  fixture *self = *state;
  mp_op *write;
  size_t size = (size_t)32 * 1024 * 1024;
  char *bytes = mp_alloc(size);
  connect_both(self);
  assert_int_equal(mp_stream_write(self->client, bytes, size, on_write, self, &write, &self->err),
                   0);
  mp_op *op;
  assert_int_equal(mp_stream_read(self->server, 1, on_read, self, &op, &self->err), 0);
  /* Until nothing moves: what the kernel holds is full, what we hold is bounded. */
  while (self->reads == 0)
    uv_run(&self->loop.uv, UV_RUN_ONCE);
  while (uv_run(&self->loop.uv, UV_RUN_NOWAIT) && uv_backend_timeout(&self->loop.uv) == 0)
    continue;
  assert_int_equal(self->writes, 0);
  mp_op_cancel(write);
  while (self->writes == 0)
    uv_run(&self->loop.uv, UV_RUN_ONCE);
  assert_true(mp_error_is(&self->err, MP_CANCELLED));
  assert_int_equal(mp_stream_write(self->client, "x", 1, on_write, self, &op, &self->err), -1);
  assert_string_equal(self->err.code, "broken");
  free(bytes);
}

static void closing_answers_a_reader_and_a_writer(void **state) {
  fixture *self = *state;
  mp_op *op;
  size_t size = (size_t)32 * 1024 * 1024;
  char *bytes = mp_alloc(size);
  connect_both(self);
  assert_int_equal(mp_stream_write(self->client, bytes, size, on_write, self, &op, &self->err), 0);
  assert_int_equal(mp_stream_read(self->client, 1, on_read, self, &op, &self->err), 0);
  mp_stream_close(mp_steal(self->client));
  assert_int_equal(self->reads + self->writes, 0);
  mp_loop_run(&self->loop);
  assert_int_equal(self->reads, 1);
  assert_int_equal(self->writes, 1);
  assert_true(mp_error_is(&self->err, MP_CANCELLED));
  free(bytes);
}

static void a_peer_that_has_gone_is_an_error_and_no_signal(void **state) {
  fixture *self = *state;
  connect_both(self);
  mp_stream_close(mp_steal(self->server));
  mp_loop_run(&self->loop);
  for (int i = 0; i < 10 && self->err.domain == NULL; i++) {
    send_text(self, self->client, "anyone?");
    mp_loop_run(&self->loop);
  }
  assert_non_null(self->err.domain);
  assert_true(mp_error_is(&self->err, "EPIPE") || mp_error_is(&self->err, "ECONNRESET"));
}

static void a_unix_socket_is_private_and_goes_with_its_listener(void **state) {
  fixture *self = *state;
  mp_op *op;
  struct stat about;
  char dir[] = "/tmp/mp-stream-XXXXXX";
  assert_non_null(mkdtemp(dir));
  mp_auto_free char *path = mp_sprintf("%s/socket", dir);
  mp_stream_address address = {.path = path};
  assert_int_equal(mp_stream_listen(&self->loop, &address, &self->listener, &self->err), 0);
  assert_int_equal(stat(path, &about), 0);
  assert_int_equal(about.st_mode & 0777, 0600);
  assert_int_equal(mp_listener_accept(self->listener, on_accept, self, &op, &self->err), 0);
  connect_to(self, &address, 0);
  mp_loop_run(&self->loop);
  send_text(self, self->server, "hello\n");
  read_line(self, self->client, 100);
  assert_string_equal(self->got.data, "hello");

  mp_listener *second;
  assert_int_equal(mp_stream_listen(&self->loop, &address, &second, &self->err), -1);
  assert_string_equal(self->err.code, "EADDRINUSE");
  mp_listener_close(mp_steal(self->listener));
  assert_int_equal(access(path, F_OK), -1);
  rmdir(dir);
}

static void a_path_too_long_for_a_socket_is_refused_with_a_hint(void **state) {
  fixture *self = *state;
  mp_op *op;
  char path[200];
  memset(path, 'x', sizeof path);
  path[0] = '/';
  path[108] = '\0';
  mp_stream_address address = {.path = path};
  assert_int_equal(mp_stream_connect(&self->loop, &address, 0, on_connect, self, &op, &self->err),
                   -1);
  assert_string_equal(self->err.code, "ENAMETOOLONG");
  assert_non_null(strstr(self->err.hint, "shorter"));
  path[107] = '\0';
  assert_int_equal(mp_stream_check_path(path, &self->err), 0);
}

static void refused_and_unknown_say_what_was_tried(void **state) {
  fixture *self = *state;
  mp_stream_address address = {.host = "127.0.0.1", .port = 1};
  connect_to(self, &address, 0);
  mp_loop_run(&self->loop);
  assert_string_equal(self->err.code, "ECONNREFUSED");
  assert_non_null(strstr(self->err.message, "`127.0.0.1` port 1"));
  self->connects = 0;
  mp_stream_address missing = {.path = "/nonexistent/socket"};
  connect_to(self, &missing, 0);
  mp_loop_run(&self->loop);
  assert_string_equal(self->err.code, "ENOENT");
}

/* Somebody took the first for dead, and listens there now. */
static void closing_removes_no_socket_of_anothers(void **state) {
  fixture *self = *state;
  char dir[] = "/tmp/mp-stream-XXXXXX";
  assert_non_null(mkdtemp(dir));
  mp_auto_free char *path = mp_sprintf("%s/socket", dir);
  const mp_stream_address address = {.path = path};
  mp_listener *first;
  assert_int_equal(mp_stream_listen(&self->loop, &address, &first, &self->err), 0);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(mp_stream_listen(&self->loop, &address, &self->listener, &self->err), 0);
  mp_listener_close(first);
  assert_int_equal(access(path, F_OK), 0);
  mp_listener_close(mp_steal(self->listener));
  assert_int_equal(access(path, F_OK), -1);
  assert_int_equal(rmdir(dir), 0);
}

/* A listener whose backlog is full answers nobody. */
static int deaf_socket(unsigned *port, int *filler) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
  assert_int_equal(listen(fd, 0), 0);
  getsockname(fd, (struct sockaddr *)&at, &len);
  *port = ntohs(at.sin_port);
  for (int i = 0; i < 3; i++) {
    filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connect(filler[i], (struct sockaddr *)&at, len);
  }
  return fd;
}

static void connecting_can_time_out_and_be_cancelled(void **state) {
  fixture *self = *state;
  mp_op *op;
  unsigned port;
  int filler[3];
  int fd = deaf_socket(&port, filler);
  mp_stream_address address = {.host = "127.0.0.1", .port = port};
  connect_to(self, &address, 20);
  mp_loop_run(&self->loop);
  assert_true(mp_error_is(&self->err, MP_TIMEOUT));
  self->connects = 0;
  assert_int_equal(mp_stream_connect(&self->loop, &address, 0, on_connect, self, &op, &self->err),
                   0);
  mp_op_cancel(op);
  mp_op_cancel(op);
  mp_loop_run(&self->loop);
  assert_int_equal(self->connects, 1);
  assert_true(mp_error_is(&self->err, MP_CANCELLED));
  close(fd);
  for (int i = 0; i < 3; i++)
    close(filler[i]);
}

static void waiting_for_a_connection_can_be_cancelled(void **state) {
  fixture *self = *state;
  mp_op *op;
  mp_stream_address here = {.host = "127.0.0.1"};
  assert_int_equal(mp_stream_listen(&self->loop, &here, &self->listener, &self->err), 0);
  assert_int_equal(mp_listener_accept(self->listener, on_accept, self, &op, &self->err), 0);
  mp_op_cancel(op);
  mp_loop_run(&self->loop);
  assert_true(mp_error_is(&self->err, MP_CANCELLED));
  assert_int_equal(mp_listener_accept(self->listener, on_accept, self, &op, &self->err), 0);
  mp_error_reset(&self->err);
  mp_listener_close(mp_steal(self->listener));
  mp_loop_run(&self->loop);
  assert_true(mp_error_is(&self->err, MP_CANCELLED));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(lines_and_blocks_can_be_mixed),
      TEST(one_half_can_end_while_the_other_goes_on),
      TEST(a_line_over_the_limit_is_an_error_and_can_still_be_read),
      TEST(a_second_read_is_refused),
      TEST(a_reader_that_stops_slows_the_writer),
      TEST(closing_answers_a_reader_and_a_writer),
      TEST(a_peer_that_has_gone_is_an_error_and_no_signal),
      TEST(a_unix_socket_is_private_and_goes_with_its_listener),
      TEST(closing_removes_no_socket_of_anothers),
      TEST(a_path_too_long_for_a_socket_is_refused_with_a_hint),
      TEST(refused_and_unknown_say_what_was_tried),
      TEST(connecting_can_time_out_and_be_cancelled),
      TEST(waiting_for_a_connection_can_be_cancelled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
