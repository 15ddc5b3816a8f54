/* WebSockets whose peer or reader is slow: nothing is lost, little is held. */
#include "websocket_fixture.h"

#include <poll.h>
#include <semaphore.h>
#include <sys/socket.h>

/* ---- slow ones ------------------------------------------------------------------------------ */

#define PIECE 32768
#define PIECES 3200 /* 100 MiB */

static unsigned char expected_at(size_t piece) {
  return (unsigned char)(piece * 31 + piece / 7);
}

typedef struct {
  atomic_size_t sent;
  atomic_bool wrong;
  sem_t go_on;
} traffic;

static void send_100_mib(int fd, const char *request, void *data) {
  traffic *traffic = data;
  mp_peer peer;
  char *bytes = malloc(PIECE);
  mp_peer_begin(&peer, fd, request, NULL);
  for (size_t i = 0; i < PIECES; i++) {
    memset(bytes, expected_at(i), PIECE);
    if (!mp_peer_send(&peer, WSLAY_BINARY_FRAME, bytes, PIECE))
      break;
    traffic->sent += PIECE;
  }
  mp_peer_close(&peer, 1000, "");
  mp_peer_read(&peer);
  mp_peer_end(&peer);
  free(bytes);
}

static bool is_piece(const char *bytes, size_t len, size_t piece) {
  if (len != PIECE)
    return false;
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)bytes[i] != expected_at(piece))
      return false;
  return true;
}

static void a_reader_that_stops_holds_the_peer_up_and_loses_nothing(void **state) {
  mp_raw_server server;
  traffic traffic = {0};
  received got = {0};
  mp_raw_start(&server, send_100_mib, &traffic);
  mp_websocket *websocket = open_at(*state, server.url);
  receive(*state, websocket, &got);
  assert_true(is_piece(got.bytes.data, got.bytes.len, 0));
  size_t before;
  do { /* until the peer gets nothing more out */
    before = traffic.sent;
    pass_time(*state, 50);
  } while (traffic.sent != before);
  assert_in_range(traffic.sent, 1, 24u << 20);
  for (size_t i = 1; i < PIECES; i++) {
    mp_websocket_kind kind;
    const char *bytes;
    size_t len;
    if (mp_websocket_take(websocket, &kind, &bytes, &len)) {
      assert_true(is_piece(bytes, len, i));
      continue;
    }
    receive(*state, websocket, &got);
    assert_true(is_piece(got.bytes.data, got.bytes.len, i));
  }
  assert_ended(*state, websocket, 1000, "");
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  forget(&got);
}

static void take_100_mib(int fd, const char *request, void *data) {
  traffic *traffic = data;
  mp_peer peer;
  mp_peer_begin(&peer, fd, request, NULL);
  sem_wait(&traffic->go_on);
  for (size_t i = 0; mp_peer_read(&peer) && peer.opcode == WSLAY_BINARY_FRAME; i++) {
    if (!is_piece(peer.bytes, peer.len, i))
      traffic->wrong = true;
    traffic->sent += peer.len;
  }
  mp_peer_end(&peer);
}

static void a_peer_that_does_not_read_holds_the_sender_up(void **state) {
  mp_raw_server server;
  traffic traffic = {0};
  char *bytes = malloc(PIECE);
  size_t held_at = 0;
  mp_op *op;
  sem_init(&traffic.go_on, 0, 0);
  mp_raw_start(&server, take_100_mib, &traffic);
  mp_websocket *websocket = open_at(*state, server.url);
  for (size_t i = 0; i < PIECES; i++) {
    outcome sent = {0};
    memset(bytes, expected_at(i), PIECE);
    start_send(websocket, bytes, PIECE, &sent, &op);
    if (held_at == 0) {
      pass_time(*state, 1);
      if (sent.calls == 0)
        pass_time(*state, 50);
      if (sent.calls == 0) {
        held_at = i;
        sem_post(&traffic.go_on);
      }
    }
    while (sent.calls == 0)
      uv_run(&((mp_loop *)*state)->uv, UV_RUN_ONCE);
    assert_null(sent.err.domain);
  }
  assert_in_range(held_at * PIECE, 1, 24u << 20);
  close_with(*state, websocket, 20000, NULL);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  assert_int_equal(traffic.sent, (size_t)PIECE * PIECES);
  assert_false(traffic.wrong);
  sem_destroy(&traffic.go_on);
  free(bytes);
}

static void ping_without_end(int fd, const char *request, void *data) {
  (void)data;
  mp_peer_agree(fd, request, NULL);
  for (int i = 0; i < 400000; i++) {
    char frame[] =
        "\x89\x7dxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    struct pollfd ready = {fd, POLLOUT, 0};
    if (poll(&ready, 1, 300) <= 0 || send(fd, frame, 127, MSG_NOSIGNAL) <= 0)
      break;
    ++*(atomic_int *)data;
  }
}

static void a_peer_that_pings_and_does_not_read_is_held_up(void **state) {
  mp_raw_server server;
  atomic_int pings = 0;
  received got = {0};
  mp_op *op;
  mp_raw_start(&server, ping_without_end, &pings);
  mp_websocket *websocket = open_at(*state, server.url);
  start_receive(websocket, &got, &op);
  while (got.calls == 0)
    uv_run(&((mp_loop *)*state)->uv, UV_RUN_ONCE);
  assert_non_null(got.err.domain);
  assert_in_range(pings, 1, 399999);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  forget(&got);
}

static void every_operation_can_be_cancelled_and_the_rest_goes_on(void **state) {
  mp_raw_server server;
  traffic traffic = {0};
  received got = {0};
  outcome first = {0}, second = {0}, pong = {0};
  mp_op *receiving, *sending, *waiting, *pinging;
  mp_error err = MP_ERROR_INIT;
  char *bytes = malloc(8 << 20);
  memset(bytes, expected_at(0), 8 << 20);
  sem_init(&traffic.go_on, 0, 0);
  mp_raw_start(&server, take_100_mib, &traffic);
  mp_websocket *websocket = open_at(*state, server.url);
  start_receive(websocket, &got, &receiving);
  start_send(websocket, bytes, 8 << 20, &first, &sending);
  start_send(websocket, bytes, PIECE, &second, &waiting);
  assert_int_equal(mp_websocket_ping(websocket, on_done, &pong, &pinging, &err), 0);
  pass_time(*state, 20);
  mp_op *all[] = {receiving, sending, waiting, pinging};
  for (size_t i = 0; i < 4; i++)
    mp_op_cancel(all[i]);
  assert_int_equal(got.calls + first.calls + second.calls + pong.calls, 0);
  while (!got.calls || !first.calls || !second.calls || !pong.calls)
    uv_run(&((mp_loop *)*state)->uv, UV_RUN_ONCE);
  assert_true(mp_error_is(&got.err, MP_CANCELLED) && mp_error_is(&first.err, MP_CANCELLED) &&
              mp_error_is(&second.err, MP_CANCELLED) && mp_error_is(&pong.err, MP_CANCELLED));
  sem_post(&traffic.go_on);
  send_text(*state, websocket, "and now this");
  close_with(*state, websocket, 10000, NULL);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  /* The one under way went out whole, the one behind it not at all. */
  assert_int_equal(traffic.sent, 8u << 20);
  sem_destroy(&traffic.go_on);
  mp_error_reset(&first.err);
  mp_error_reset(&second.err);
  mp_error_reset(&pong.err);
  forget(&got);
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      http_test(a_reader_that_stops_holds_the_peer_up_and_loses_nothing),
      http_test(a_peer_that_does_not_read_holds_the_sender_up),
      http_test(a_peer_that_pings_and_does_not_read_is_held_up),
      http_test(every_operation_can_be_cancelled_and_the_rest_goes_on),
  };
  return cmocka_run_group_tests(tests, start_nginx, stop_nginx);
}
