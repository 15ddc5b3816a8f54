/* A client that sends any bytes in pieces of any size: each answer is one line, `ok` or `error`,
 * and nothing blocks. The first byte of each piece says how long it is. */
#include "core/shim/control.h"
#include "core/shim/protocol.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define check(condition)                                                                           \
  do {                                                                                             \
    if (!(condition))                                                                              \
      abort();                                                                                     \
  } while (0)

static void on_line(mp_shim_client *client, char *line, size_t len) {
  mp_shim_request request;
  mp_shim_error err;
  check(len < MP_SHIM_LINE_CAP && memchr(line, '\n', len) == NULL);
  if (mp_shim_request_parse(line, len, &request, &err) < 0)
    mp_shim_client_error(client, err.code, err.message);
  else if (request.verb == MP_SHIM_WAIT)
    client->held = true; /* as a request that is answered later */
  else
    mp_shim_client_ok(client, "{}");
}

static void on_due(mp_shim_timer *timer) {
  (void)timer;
}

static void check_answers(int fd, char *rest, size_t *rest_len) {
  char text[65536];
  memcpy(text, rest, *rest_len);
  ssize_t got = read(fd, text + *rest_len, sizeof text - *rest_len);
  size_t len = *rest_len + (got > 0 ? (size_t)got : 0);
  char *at = text, *newline;
  while ((newline = memchr(at, '\n', len - (size_t)(at - text))) != NULL) {
    check(strncmp(at, "ok ", 3) == 0 || strncmp(at, "error ", 6) == 0 ||
          strncmp(at, "hello\n", 6) == 0);
    at = newline + 1;
  }
  *rest_len = len - (size_t)(at - text);
  check(*rest_len < 1024);
  memcpy(rest, at, *rest_len);
}

/* One turn of the loop that returns even when there is nothing to do. */
static void turn(mp_shim_control *control, mp_shim_timer *timer) {
  timer->at = 1;
  mp_shim_loop_turn(control->loop);
  mp_shim_control_sweep(control);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  mp_shim_loop loop;
  mp_shim_error err;
  mp_shim_timer timer = {.on_due = on_due};
  int ends[2];
  char rest[1024];
  size_t rest_len = 0;
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
  check(mp_shim_loop_open(&loop, &err) == 0);
  mp_shim_loop_add_timer(&loop, &timer);
  mp_shim_control control = {.loop = &loop, .greeting = "hello\n", .on_line = on_line};
  check(mp_shim_control_adopt(&control, ends[1], &err) == 0);
  while (size > 1) {
    size_t piece = data[0] * 8u + 1;
    piece = piece < size - 1 ? piece : size - 1;
    if (send(ends[0], data + 1, piece, MSG_NOSIGNAL) < 0)
      break;
    turn(&control, &timer);
    check_answers(ends[0], rest, &rest_len);
    if (control.clients && control.clients->held)
      mp_shim_client_release(control.clients);
    data += piece + 1;
    size -= piece + 1;
  }
  shutdown(ends[0], SHUT_WR);
  turn(&control, &timer);
  mp_shim_control_close(&control);
  mp_shim_loop_close(&loop);
  close(ends[0]);
  return 0;
}
