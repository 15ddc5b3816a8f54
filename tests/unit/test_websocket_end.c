/* How WebSockets end: good-byes, broken rules, silence, and an end of ours at every point. */
#include "websocket_fixture.h"

#include <poll.h>
#include <semaphore.h>

/* ---- good-byes ------------------------------------------------------------------------------ */

static void say_good_bye(int fd, const char *request, void *data) {
  mp_peer peer;
  mp_peer_begin(&peer, fd, request, NULL);
  mp_peer_send(&peer, WSLAY_TEXT_FRAME, "last words", 10);
  mp_peer_close(&peer, 4001, "going home");
  mp_peer_read(&peer);
  *(unsigned *)data = peer.code;
  mp_peer_end(&peer);
}

static void the_peers_close_comes_behind_its_messages_and_is_answered(void **state) {
  mp_raw_server server;
  unsigned code = 0;
  mp_raw_start(&server, say_good_bye, &code);
  mp_websocket *websocket = open_at(*state, server.url);
  assert_message(*state, websocket, "last words");
  assert_ended(*state, websocket, 4001, "going home");
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  outcome outcome = {0};
  assert_int_equal(
      mp_websocket_send(websocket, MP_WEBSOCKET_TEXT, "x", 1, on_done, &outcome, &op, &err), -1);
  assert_string_equal(err.code, "closed");
  assert_contains(err.message, "4001: going home");
  mp_error_reset(&err);
  close_with(*state, websocket, 5000, NULL);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  assert_int_equal(code, 4001);
}

static void an_end_without_a_good_bye_is_an_error_behind_what_came(void **state) {
  mp_raw_server server;
  mp_raw_start(&server, drop_it, NULL);
  mp_websocket *websocket = open_at(*state, server.url);
  assert_message(*state, websocket, "whole");
  receiving_fails(*state, websocket, "closed");
  receiving_fails(*state, websocket, "closed");
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
}

static void a_close_that_nobody_answers_ends_at_its_deadline(void **state) {
  mp_raw_server server;
  mp_raw_start(&server, agree_and_ignore, NULL);
  mp_websocket *websocket = open_at(*state, server.url);
  close_with(*state, websocket, 30, MP_TIMEOUT);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
}

static void count_messages(int fd, const char *request, void *data) {
  mp_peer peer;
  mp_peer_begin(&peer, fd, request, NULL);
  while (mp_peer_read(&peer) && peer.opcode != WSLAY_CONNECTION_CLOSE)
    ++*(int *)data;
  mp_peer_end(&peer);
}

static void what_was_sent_before_a_close_goes_out_before_it(void **state) {
  mp_raw_server server;
  int count = 0;
  outcome sent[20] = {0};
  mp_op *op;
  char *bytes = mp_alloc(200000);
  mp_raw_start(&server, count_messages, &count);
  mp_websocket *websocket = open_at(*state, server.url);
  for (int i = 0; i < 20; i++)
    start_send(websocket, bytes, 200000, &sent[i], &op);
  close_with(*state, websocket, 10000, NULL);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  assert_int_equal(count, 20);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(sent[i].calls, 1);
    assert_null(sent[i].err.domain);
  }
  free(bytes);
}

/* ---- a peer that breaks the rules ----------------------------------------------------------- */

typedef struct {
  uint8_t first;
  const char *bytes;
  size_t len;
} bad_frame;

static void send_bad_frame(int fd, const char *request, void *data) {
  const bad_frame *frame = data;
  mp_peer_agree(fd, request, NULL);
  mp_peer_frame(fd, frame->first, frame->bytes, frame->len);
  mp_raw_wait_gone(fd);
}

static void a_broken_rule_ends_the_connection(void **state) {
  static const bad_frame cases[] = {
      {0x83, "reserved", 8},    /* an opcode of no meaning */
      {0xc1, "compressed", 10}, /* RSV1 without an extension */
      {0x80, "nothing before", 14}, {0x09, "ping in pieces", 14},
      {0x81, "\xff\xfe", 2}, /* text that is none */
      {0x88, "\x03\xed", 2}, /* 1005 must not be sent */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_raw_server server;
    mp_raw_start(&server, send_bad_frame, (void *)&cases[i]);
    mp_websocket *websocket = open_at(*state, server.url);
    received got = {0};
    receive(*state, websocket, &got);
    if (!got.err.domain || strcmp(got.err.code, MP_PROTOCOL) != 0)
      fail_msg("case %zu: %s", i, got.err.domain ? got.err.code : "accepted");
    forget(&got);
    mp_websocket_free(websocket);
    mp_raw_stop(&server);
  }
}

static void send_much(int fd, const char *request, void *data) {
  char *bytes = calloc(1, 60000);
  mp_peer_agree(fd, request, NULL);
  for (int i = 0; i < *(int *)data; i++)
    mp_peer_frame(fd, i == 0 ? 0x02 : 0x00, bytes, 60000);
  mp_peer_frame(fd, 0x80, "", 0);
  free(bytes);
  mp_raw_wait_gone(fd);
}

static void a_message_over_the_limit_is_refused_also_in_pieces(void **state) {
  for (int pieces = 1; pieces <= 3; pieces++) {
    mp_raw_server server;
    request request;
    mp_raw_start(&server, send_much, &pieces);
    to(&request, server.url)->options.max_message = 120000;
    mp_websocket *websocket = open_with(*state, &request);
    received got = {0};
    receive(*state, websocket, &got);
    if (pieces < 3)
      assert_int_equal(got.bytes.len, (size_t)pieces * 60000);
    else
      assert_true(mp_error_is(&got.err, MP_LIMIT));
    forget(&got);
    mp_websocket_free(websocket);
    mp_raw_stop(&server);
  }
}

/* ---- silence -------------------------------------------------------------------------------- */

static void a_silent_peer_is_noticed(void **state) {
  mp_raw_server server;
  request request;
  mp_raw_start(&server, agree_and_ignore, NULL);
  to(&request, server.url)->options.ping_ms = 20;
  mp_websocket *websocket = open_with(*state, &request);
  receiving_fails(*state, websocket, MP_TIMEOUT);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
}

static void a_quiet_peer_that_answers_pings_lives(void **state) {
  mp_raw_server server;
  request request;
  received got = {0};
  mp_op *op;
  mp_raw_start(&server, mp_peer_echo, NULL);
  to(&request, server.url)->options.ping_ms = 20;
  mp_websocket *websocket = open_with(*state, &request);
  start_receive(websocket, &got, &op);
  pass_time(*state, 250);
  assert_int_equal(got.calls, 0);
  send_text(*state, websocket, "still here");
  run_while_none(*state, &got.calls);
  assert_string_equal(got.bytes.data, "still here");
  forget(&got);
  close_with(*state, websocket, 5000, NULL);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
}

static void agree_and_sleep(int fd, const char *request, void *data) {
  (void)fd;
  mp_peer_agree(fd, request, NULL);
  sem_wait(data);
}

/* Its TCP acknowledges what it was sent, but nobody reads it: a command that does not read its
 * input, behind a server that waits for it. */
static void a_peer_that_may_stall_is_not_dead_while_its_tcp_answers(void **state) {
  for (int patient = 1; patient >= 0; patient--) {
    mp_raw_server server;
    request request;
    received got = {0};
    sem_t wake;
    mp_op *op;
    sem_init(&wake, 0, 0);
    mp_raw_start(&server, agree_and_sleep, &wake);
    to(&request, server.url)->options.ping_ms = 20;
    request.options.may_stall = patient;
    mp_websocket *websocket = open_with(*state, &request);
    send_text(*state, websocket, "who reads this?");
    start_receive(websocket, &got, &op);
    pass_time(*state, 250);
    assert_int_equal(got.calls, !patient);
    if (!patient)
      assert_true(mp_error_is(&got.err, MP_TIMEOUT));
    mp_websocket_free(websocket);
    run_while_none(*state, &got.calls);
    sem_post(&wake);
    mp_raw_stop(&server);
    forget(&got);
    sem_destroy(&wake);
  }
}

static void speak_and_echo(int fd, const char *request, void *data) {
  mp_peer peer;
  mp_peer_begin(&peer, fd, request, NULL);
  mp_peer_send(&peer, WSLAY_TEXT_FRAME, "meanwhile", 9);
  while (mp_peer_read(&peer) && mp_peer_send(&peer, peer.opcode, peer.bytes, peer.len))
    ;
  mp_peer_end(&peer);
  (void)data;
}

/* A process that was stopped, or a machine that had no time for it, is late itself: what has come
 * is read, and the peer asked, before its silence counts. */
static void a_stop_of_this_process_is_no_silence_of_the_peer(void **state) {
  mp_raw_server server;
  request request;
  received got = {0};
  mp_op *op;
  mp_raw_start(&server, speak_and_echo, NULL);
  to(&request, server.url)->options.ping_ms = 200;
  mp_websocket *websocket = open_with(*state, &request);
  for (int stop = 0; stop < 2; stop++) {
    usleep(1000000);
    assert_message(*state, websocket, stop == 0 ? "meanwhile" : "still here");
    send_text(*state, websocket, "still here");
  }
  assert_message(*state, websocket, "still here");
  usleep(1000000);
  start_receive(websocket, &got, &op);
  pass_time(*state, 200);
  assert_int_equal(got.calls, 0);
  mp_websocket_free(websocket);
  run_while_none(*state, &got.calls);
  forget(&got);
  mp_raw_stop(&server);
}

typedef struct {
  sem_t go_on;
  int heard;
} pausing;

static void speak_and_listen(int fd, const char *request, void *data) {
  pausing *self = data;
  struct pollfd input = {fd, POLLIN, 0};
  mp_peer_agree(fd, request, NULL);
  sem_wait(&self->go_on);
  mp_peer_frame(fd, 0x82, "hello", 5);
  self->heard = poll(&input, 1, 1500);
}

/* A byte that comes to a peer that has closed takes back what it sent and is still on its way. */
static void a_peer_is_not_pinged_before_it_was_silent_for_as_long_as_was_said(void **state) {
  mp_raw_server server;
  request request;
  pausing pausing = {.heard = -1};
  sem_init(&pausing.go_on, 0, 0);
  mp_raw_start(&server, speak_and_listen, &pausing);
  to(&request, server.url)->options.ping_ms = 2000;
  mp_websocket *websocket = open_with(*state, &request);
  pass_time(*state, 900);
  sem_post(&pausing.go_on);
  assert_message(*state, websocket, "hello");
  receiving_fails(*state, websocket, "closed"); /* once the peer has listened long enough */
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  assert_int_equal(pausing.heard, 0);
  sem_destroy(&pausing.go_on);
}

static void agree_and_say_nothing_more(int fd, const char *request, void *data) {
  mp_peer_agree(fd, request, NULL);
  (void)data;
}

static void a_connection_that_broke_tells_who_ended_it_and_how_long_it_was_silent(void **state) {
  mp_raw_server server;
  received got = {0};
  mp_raw_start(&server, agree_and_say_nothing_more, NULL);
  mp_websocket *websocket = open_at(*state, server.url);
  receive(*state, websocket, &got);
  assert_true(mp_error_is(&got.err, "closed"));
  assert_non_null(strstr(got.err.message, server.url + strlen("http")));
  assert_non_null(strstr(got.err.message, " ended the connection without a good-bye, "));
  assert_non_null(strstr(got.err.message, " s after it was last heard of"));
  forget(&got);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
}

static void a_ping_is_answered_or_ends_with_the_connection(void **state) {
  mp_raw_server server;
  outcome pong = {0};
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  mp_raw_start(&server, mp_peer_echo, NULL);
  mp_websocket *websocket = open_at(*state, server.url);
  assert_int_equal(mp_websocket_ping(websocket, on_done, &pong, &op, &err), 0);
  run_while_none(*state, &pong.calls);
  assert_null(pong.err.domain);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);

  mp_raw_start(&server, drop_it, NULL);
  websocket = open_at(*state, server.url);
  pong.calls = 0;
  if (mp_websocket_ping(websocket, on_done, &pong, &op, &err) == 0) {
    run_while_none(*state, &pong.calls);
    assert_non_null(pong.err.domain);
  }
  mp_error_reset(&pong.err);
  mp_error_reset(&err);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
}

/* ---- the end at every point ----------------------------------------------------------------- */

static void opening_can_be_cancelled_at_every_turn(void **state) {
  mp_raw_server server;
  mp_loop *loop = *state;
  mp_raw_start(&server, mp_peer_echo, NULL);
  int opens = 0, cancels = 0;
  for (int turns = 0; turns < 12; turns++) {
    request request;
    opened result = {0};
    mp_op *op = start(loop, to(&request, server.url), &result);
    for (int i = 0; i < turns && result.calls == 0; i++)
      uv_run(&loop->uv, i % 2 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    if (result.calls == 0) {
      mp_op_cancel(op);
      mp_op_cancel(op);
      assert_int_equal(result.calls, 0);
      run_while_none(loop, &result.calls);
    }
    assert_int_equal(result.calls, 1);
    opens += result.websocket != NULL;
    cancels += mp_error_is(&result.err, MP_CANCELLED);
    mp_websocket_free(result.websocket);
    mp_error_reset(&result.err);
  }
  assert_int_equal(opens + cancels, 12);
  assert_true(cancels > 0);
  mp_raw_stop(&server);
}

static void freeing_it_ends_what_is_under_way(void **state) {
  mp_raw_server server;
  received got = {0};
  outcome sent = {0}, pong = {0}, closed = {0};
  mp_op *op;
  mp_error err = MP_ERROR_INIT;
  char *bytes = mp_alloc(16 << 20);
  mp_raw_start(&server, agree_and_ignore, NULL);
  mp_websocket *websocket = open_at(*state, server.url);
  start_receive(websocket, &got, &op);
  assert_int_equal(mp_websocket_ping(websocket, on_done, &pong, &op, &err), 0);
  start_send(websocket, bytes, 16 << 20, &sent, &op);
  assert_int_equal(mp_websocket_close(websocket, 1000, "", 5000, on_done, &closed, &op, &err), 0);
  uv_run(&((mp_loop *)*state)->uv, UV_RUN_NOWAIT);
  mp_websocket_free(websocket);
  assert_int_equal(got.calls + sent.calls + pong.calls + closed.calls, 0);
  mp_loop_run(*state);
  assert_int_equal(got.calls, 1);
  assert_int_equal(pong.calls, 1);
  assert_int_equal(closed.calls, 1);
  assert_int_equal(sent.calls, 1);
  assert_true(mp_error_is(&got.err, MP_CANCELLED) && mp_error_is(&pong.err, MP_CANCELLED) &&
              mp_error_is(&closed.err, MP_CANCELLED));
  mp_raw_stop(&server);
  mp_error_reset(&pong.err);
  mp_error_reset(&sent.err);
  mp_error_reset(&closed.err);
  forget(&got);
  free(bytes);
}

typedef struct {
  mp_websocket *websocket;
  int calls;
} owner;

static void free_within(void *data, mp_websocket_kind kind, const char *bytes, size_t len,
                        const mp_error *err) {
  owner *self = data;
  (void)kind;
  (void)err;
  mp_websocket_free(self->websocket);
  assert_int_equal(len, 2);
  assert_memory_equal(bytes, "me", 2);
  self->calls++;
}

static void it_can_be_freed_in_its_own_callback(void **state) {
  mp_raw_server server;
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  mp_raw_start(&server, mp_peer_echo, NULL);
  owner self = {open_at(*state, server.url), 0};
  send_text(*state, self.websocket, "me");
  assert_int_equal(mp_websocket_receive(self.websocket, free_within, &self, &op, &err), 0);
  run_while_none(*state, &self.calls);
  mp_loop_run(*state);
  assert_int_equal(self.calls, 1);
  mp_raw_stop(&server);
}

static void an_open_one_does_not_keep_the_loop_running_by_itself(void **state) {
  mp_raw_server server;
  request request;
  mp_raw_start(&server, mp_peer_echo, NULL);
  to(&request, server.url)->options.ping_ms = 60000;
  mp_websocket *websocket = open_with(*state, &request);
  mp_loop_run(*state); /* returns */
  send_text(*state, websocket, "x");
  assert_message(*state, websocket, "x");
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      http_test(the_peers_close_comes_behind_its_messages_and_is_answered),
      http_test(an_end_without_a_good_bye_is_an_error_behind_what_came),
      http_test(a_close_that_nobody_answers_ends_at_its_deadline),
      http_test(what_was_sent_before_a_close_goes_out_before_it),
      http_test(a_broken_rule_ends_the_connection),
      http_test(a_message_over_the_limit_is_refused_also_in_pieces),
      http_test(a_silent_peer_is_noticed),
      http_test(a_quiet_peer_that_answers_pings_lives),
      http_test(a_peer_that_may_stall_is_not_dead_while_its_tcp_answers),
      http_test(a_stop_of_this_process_is_no_silence_of_the_peer),
      http_test(a_peer_is_not_pinged_before_it_was_silent_for_as_long_as_was_said),
      http_test(a_connection_that_broke_tells_who_ended_it_and_how_long_it_was_silent),
      http_test(a_ping_is_answered_or_ends_with_the_connection),
      http_test(opening_can_be_cancelled_at_every_turn),
      http_test(freeing_it_ends_what_is_under_way),
      http_test(it_can_be_freed_in_its_own_callback),
      http_test(an_open_one_does_not_keep_the_loop_running_by_itself),
  };
  return cmocka_run_group_tests(tests, start_nginx, stop_nginx);
}
