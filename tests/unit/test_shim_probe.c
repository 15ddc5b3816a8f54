/* Packets that the shim sends to see what becomes of them, over loopback. */
#include "unit.h"

#include "core/shim/probe.h"
#include "core/shim/protocol.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket at a port of loopback that is free. */
static int listen_at(int type, uint16_t *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
  if (type == SOCK_STREAM)
    assert_int_equal(listen(fd, 4), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
  *port = ntohs(address.sin_port);
  return fd;
}

/* A port that nobody has. */
static uint16_t free_port(int type) {
  uint16_t port;
  close(listen_at(type, &port));
  return port;
}

static mp_shim_probe parsed(const char *format, uint16_t port, uint16_t from) {
  char line[128];
  mp_shim_request request;
  mp_shim_error err;
  int len = snprintf(line, sizeof line, format, port, from);
  if (mp_shim_request_parse(line, (size_t)len, &request, &err) < 0)
    fail_msg("%s", err.message);
  assert_int_equal(request.verb, MP_SHIM_PROBE);
  return request.probe;
}

static void send_it(const mp_shim_probe *probe) {
  mp_shim_error err;
  if (mp_shim_probe_send(probe, &err) < 0)
    fail_msg("%s: %s", err.code, err.message);
}

static void a_connection_is_begun_from_the_port_that_was_asked_for(void **state) {
  (void)state;
  uint16_t port, from = free_port(SOCK_STREAM);
  int listener = listen_at(SOCK_STREAM, &port);
  struct sockaddr_in peer;
  socklen_t len = sizeof peer;
  mp_shim_probe probe = parsed("probe tcp=127.0.0.1:%u from=%u", port, from);
  send_it(&probe);
  int accepted = accept(listener, (struct sockaddr *)&peer, &len);
  assert_true(accepted >= 0);
  assert_int_equal(ntohs(peer.sin_port), from);
  close(accepted);
  close(listener);
}

static void a_datagram_is_empty(void **state) {
  (void)state;
  uint16_t port, from = free_port(SOCK_DGRAM);
  int fd = listen_at(SOCK_DGRAM, &port);
  char bytes[16];
  struct sockaddr_in peer;
  socklen_t len = sizeof peer;
  mp_shim_probe probe = parsed("probe from=%2$u udp=127.0.0.1:%1$u", port, from);
  send_it(&probe);
  assert_int_equal(recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&peer, &len), 0);
  assert_int_equal(ntohs(peer.sin_port), from);
  close(fd);
}

static void that_nobody_listens_is_no_failure(void **state) {
  (void)state;
  mp_shim_probe tcp = parsed("probe tcp=127.0.0.1:%u", free_port(SOCK_STREAM), 0);
  mp_shim_probe udp = parsed("probe udp=127.0.0.1:%u", free_port(SOCK_DGRAM), 0);
  send_it(&tcp);
  send_it(&udp);
}

static void a_port_that_is_taken_is_an_error(void **state) {
  (void)state;
  uint16_t taken;
  mp_shim_error err;
  int fd = listen_at(SOCK_DGRAM, &taken);
  mp_shim_probe probe = parsed("probe udp=127.0.0.1:%u from=%u", taken, taken);
  assert_int_equal(mp_shim_probe_send(&probe, &err), -1);
  assert_string_equal(err.code, "EADDRINUSE");
  close(fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_connection_is_begun_from_the_port_that_was_asked_for),
      cmocka_unit_test(a_datagram_is_empty),
      cmocka_unit_test(that_nobody_listens_is_no_failure),
      cmocka_unit_test(a_port_that_is_taken_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
