/* WebSockets against a peer on a thread of its own: messages, good-byes, silence, refusals, and an
 * end at every point. */
#include "http_fixture.h"

#include "core/websocket.h"
#include "tests/fixtures/websocket_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- opening -------------------------------------------------------------------------------- */

typedef struct {
  int calls;
  mp_websocket *websocket;
  mp_error err;
  int status;
  char body[256];
} opened;

static void on_open(void *data, mp_websocket *websocket, const mp_websocket_refusal *refusal,
                    const mp_error *err) {
  opened *self = data;
  self->calls++;
  self->websocket = websocket;
  if (err)
    mp_error_copy(&self->err, err);
  if (refusal) {
    self->status = refusal->status;
    snprintf(self->body, sizeof self->body, "%.*s", (int)refusal->body.len, refusal->body.data);
  }
}

typedef struct {
  mp_http_options http;
  mp_websocket_options options;
} request;

static request *to(request *self, const char *url) {
  *self = (request){.http = MP_HTTP_OPTIONS_INIT};
  self->http.url = url;
  self->options.http = &self->http;
  return self;
}

static mp_op *start(mp_loop *loop, const request *request, opened *result) {
  mp_error err = MP_ERROR_INIT;
  mp_op *op = NULL;
  if (mp_websocket_connect(loop, &request->options, on_open, result, &op, &err) < 0)
    fail_msg("%s", err.message);
  assert_int_equal(result->calls, 0);
  return op;
}

static void run_while_none(mp_loop *loop, const int *calls) {
  while (*calls == 0)
    if (!uv_run(&loop->uv, UV_RUN_ONCE) && *calls == 0)
      fail_msg("the loop ended before the operation");
}

static mp_websocket *open_with(mp_loop *loop, request *request) {
  opened result = {0};
  start(loop, request, &result);
  run_while_none(loop, &result.calls);
  if (result.err.domain)
    fail_msg("%s: %s", result.err.code, result.err.message);
  assert_non_null(result.websocket);
  return result.websocket;
}

static mp_websocket *open_at(mp_loop *loop, const char *url) {
  request request;
  return open_with(loop, to(&request, url));
}

static void opening_fails(mp_loop *loop, request *request, const char *code, opened *into) {
  opened result = {0};
  start(loop, request, &result);
  run_while_none(loop, &result.calls);
  assert_null(result.websocket);
  if (!result.err.domain || strcmp(result.err.code, code) != 0)
    fail_msg("%s: %s; wanted %s", result.err.code, result.err.message, code);
  if (into)
    *into = result;
  else
    mp_error_reset(&result.err);
}

/* ---- operations ----------------------------------------------------------------------------- */

typedef struct {
  int calls;
  mp_error err;
  bool ended;
  mp_websocket_kind kind;
  mp_buf bytes;
} received;

static void on_message(void *data, mp_websocket_kind kind, const char *bytes, size_t len,
                       const mp_error *err) {
  received *self = data;
  self->calls++;
  self->kind = kind;
  self->ended = !bytes && !err;
  mp_buf_clear(&self->bytes);
  if (bytes)
    mp_buf_append(&self->bytes, bytes, len);
  if (err)
    mp_error_copy(&self->err, err);
}

static void start_receive(mp_websocket *websocket, received *result, mp_op **op) {
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_websocket_receive(websocket, on_message, result, op, &err), 0);
  assert_int_equal(result->calls, 0);
}

static void receive(mp_loop *loop, mp_websocket *websocket, received *result) {
  mp_op *op;
  result->calls = 0;
  start_receive(websocket, result, &op);
  run_while_none(loop, &result->calls);
}

static void forget(received *result) {
  mp_buf_free(&result->bytes);
  mp_error_reset(&result->err);
}

static void assert_message(mp_loop *loop, mp_websocket *websocket, const char *expected) {
  received result = {0};
  receive(loop, websocket, &result);
  if (result.err.domain)
    fail_msg("%s", result.err.message);
  assert_false(result.ended);
  assert_string_equal(result.bytes.data, expected);
  forget(&result);
}

static void assert_ended(mp_loop *loop, mp_websocket *websocket, unsigned code,
                         const char *reason) {
  received result = {0};
  const char *why;
  receive(loop, websocket, &result);
  if (result.err.domain)
    fail_msg("%s", result.err.message);
  assert_true(result.ended);
  assert_int_equal(mp_websocket_close_code(websocket, &why), code);
  assert_string_equal(why, reason);
  forget(&result);
}

static void receiving_fails(mp_loop *loop, mp_websocket *websocket, const char *code) {
  received result = {0};
  receive(loop, websocket, &result);
  if (!result.err.domain || strcmp(result.err.code, code) != 0)
    fail_msg("%s: %s; wanted %s", result.err.code, result.err.message, code);
  forget(&result);
}

static void on_done(void *data, const mp_error *err) {
  outcome *outcome = data;
  outcome->calls++;
  if (err)
    mp_error_copy(&outcome->err, err);
}

static void start_send(mp_websocket *websocket, const void *bytes, size_t len, outcome *outcome,
                       mp_op **op) {
  mp_error err = MP_ERROR_INIT;
  if (mp_websocket_send(websocket, MP_WEBSOCKET_BINARY, bytes, len, on_done, outcome, op, &err) < 0)
    fail_msg("%s", err.message);
  assert_int_equal(outcome->calls, 0);
}

static void send_text(mp_loop *loop, mp_websocket *websocket, const char *text) {
  outcome outcome = {0};
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  assert_int_equal(mp_websocket_send(websocket, MP_WEBSOCKET_TEXT, text, strlen(text), on_done,
                                     &outcome, &op, &err),
                   0);
  run_while_none(loop, &outcome.calls);
  assert_null(outcome.err.domain);
}

static void close_with(mp_loop *loop, mp_websocket *websocket, uint64_t timeout,
                       const char *wanted) {
  outcome outcome = {0};
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  assert_int_equal(
      mp_websocket_close(websocket, 1000, "done", timeout, on_done, &outcome, &op, &err), 0);
  assert_int_equal(outcome.calls, 0);
  run_while_none(loop, &outcome.calls);
  assert_int_equal(outcome.calls, 1);
  if (wanted)
    assert_string_equal(outcome.err.code, wanted);
  else if (outcome.err.domain)
    fail_msg("%s", outcome.err.message);
  mp_error_reset(&outcome.err);
}

/* ---- messages ------------------------------------------------------------------------------- */

static void messages_come_back_as_they_were(void **state) {
  static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 1 << 20};
  mp_raw_server server;
  mp_raw_start(&server, mp_peer_echo, NULL);
  mp_websocket *websocket = open_at(*state, server.url);
  assert_null(mp_websocket_protocol(websocket));
  char *bytes = malloc(1 << 20);
  for (size_t i = 0; i < 1 << 20; i++)
    bytes[i] = (char)(i * 7 + i / 251);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    outcome sent = {0};
    received back = {0};
    mp_op *op;
    start_send(websocket, bytes, sizes[i], &sent, &op);
    receive(*state, websocket, &back);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(back.kind, MP_WEBSOCKET_BINARY);
    assert_int_equal(back.bytes.len, sizes[i]);
    assert_memory_equal(back.bytes.data, bytes, sizes[i]);
    forget(&back);
  }
  send_text(*state, websocket, "gr\xc3\xbc\xc3\x9f dich");
  received back = {0};
  receive(*state, websocket, &back);
  assert_int_equal(back.kind, MP_WEBSOCKET_TEXT);
  assert_string_equal(back.bytes.data, "gr\xc3\xbc\xc3\x9f dich");
  forget(&back);
  close_with(*state, websocket, 5000, NULL);
  assert_int_equal(mp_websocket_close_code(websocket, NULL), 1000);
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  free(bytes);
}

static void send_in_fragments(int fd, const char *request, void *data) {
  char *pong = data;
  char frame[64];
  mp_peer_agree(fd, request, NULL);
  mp_peer_frame(fd, 0x01, "in ", 3);
  mp_peer_frame(fd, 0x89, "are you there", 13);
  mp_peer_frame(fd, 0x00, "", 0);
  mp_peer_frame(fd, 0x00, "three ", 6);
  mp_peer_frame(fd, 0x80, "pieces", 6);
  ssize_t got = recv(fd, frame, sizeof frame, MSG_WAITALL);
  (void)got;
  for (int i = 0; i < 13; i++)
    pong[i] = (char)(frame[6 + i] ^ frame[2 + i % 4]);
  pong[13] = frame[0];
}

static void fragments_become_one_message_and_pings_between_them_are_answered(void **state) {
  mp_raw_server server;
  char pong[16] = "";
  mp_raw_start(&server, send_in_fragments, pong);
  mp_websocket *websocket = open_at(*state, server.url);
  assert_message(*state, websocket, "in three pieces");
  /* The server waits for 64 bytes or the end: our half of it is what comes next. */
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  assert_memory_equal(pong, "are you there", 13);
  assert_int_equal((unsigned char)pong[13], 0x8a);
}

static void answer_and_talk_at_once(int fd, const char *request, void *data) {
  char head[512], accept[32];
  (void)data;
  snprintf(head, sizeof head,
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: %s\r\n\r\n\x81\x03one\x81\x03two\x88\x02\x03\xe8",
           mp_peer_accept_of(request, accept));
  mp_raw_send(fd, head);
  mp_raw_wait_gone(fd);
}

static void what_comes_right_behind_the_answer_is_not_lost(void **state) {
  mp_raw_server server;
  mp_raw_start(&server, answer_and_talk_at_once, NULL);
  mp_websocket *websocket = open_at(*state, server.url);
  assert_message(*state, websocket, "one");
  assert_message(*state, websocket, "two");
  assert_ended(*state, websocket, 1000, "");
  assert_ended(*state, websocket, 1000, "");
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
}

static void tell_request(int fd, const char *request, void *data) {
  mp_peer peer;
  (void)data;
  mp_peer_begin(&peer, fd, request, strstr(request, "v4.test") ? "v4.test" : NULL);
  mp_peer_send(&peer, WSLAY_TEXT_FRAME, request, strlen(request));
  mp_peer_read(&peer);
  mp_peer_end(&peer);
}

static void the_request_says_who_asks_for_what(void **state) {
  static const char *const protocols[] = {"v5.test", "v4.test"};
  mp_raw_server server;
  char url[128];
  request request;
  received got = {0};
  mp_http_header headers[] = {{"X-Mine", "yes"}, {"Authorization", "Bearer t"}};
  mp_raw_start(&server, tell_request, NULL);
  snprintf(url, sizeof url, "ws://user:pass@127.0.0.1:%d/a/b?c=d&e=f", server.port);
  to(&request, url);
  request.options.protocols = protocols;
  request.options.protocol_count = 2;
  request.http.headers = headers;
  request.http.header_count = 1;
  mp_websocket *websocket = open_with(*state, &request);
  assert_string_equal(mp_websocket_protocol(websocket), "v4.test");
  receive(*state, websocket, &got);
  assert_contains(got.bytes.data, "GET /a/b?c=d&e=f HTTP/1.1\r\n");
  assert_contains(got.bytes.data, "\r\nHost: 127.0.0.1:");
  assert_contains(got.bytes.data, "\r\nSec-WebSocket-Protocol: v5.test, v4.test\r\n");
  assert_contains(got.bytes.data, "\r\nX-Mine: yes\r\n");
  assert_contains(got.bytes.data, "\r\nAuthorization: Basic dXNlcjpwYXNz\r\n");
  mp_websocket_free(websocket);
  request.http.header_count = 2;
  websocket = open_with(*state, &request);
  receive(*state, websocket, &got);
  assert_contains(got.bytes.data, "\r\nAuthorization: Bearer t\r\n");
  assert_null(strstr(got.bytes.data, "Basic"));
  assert_null(strstr(mp_websocket_url(websocket), "pass"));
  mp_websocket_free(websocket);
  mp_raw_stop(&server);
  forget(&got);
}

static void what_cannot_be_meant_is_refused_before_anything_is_sent(void **state) {
  static const char *const spaced[] = {"a b"};
  mp_http_header ours = {"sec-websocket-key", "x"}, evil = {"X", "a\r\nY: z"};
  request cases[5];
  for (size_t i = 0; i < 5; i++)
    to(&cases[i], "ws://127.0.0.1:1/");
  cases[0].http.url = "ftp://127.0.0.1/";
  cases[1].http.url = NULL;
  cases[2].http.headers = &ours;
  cases[3].http.headers = &evil;
  cases[2].http.header_count = cases[3].http.header_count = 1;
  cases[4].options.protocols = spaced;
  cases[4].options.protocol_count = 1;
  for (size_t i = 0; i < 5; i++) {
    mp_error err = MP_ERROR_INIT;
    mp_op *op;
    opened result = {0};
    assert_int_equal(mp_websocket_connect(*state, &cases[i].options, on_open, &result, &op, &err),
                     -1);
    assert_string_equal(err.code, MP_INVALID);
    mp_error_reset(&err);
  }
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void answer_text(int fd, const char *request, void *data) {
  (void)request;
  mp_raw_send(fd, data);
}

static void a_refusal_brings_status_and_body(void **state) {
  mp_raw_server server;
  opened result;
  request request;
  mp_raw_start(&server, answer_text,
               "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
               "11\r\n{\"kind\":\"Status\"}\r\n0\r\n\r\n");
  opening_fails(*state, to(&request, server.url), "refused", &result);
  assert_int_equal(result.status, 403);
  assert_string_equal(result.body, "{\"kind\":\"Status\"}");
  assert_contains(result.err.message, "403 Forbidden");
  mp_error_reset(&result.err);
  mp_raw_stop(&server);
}

static void a_redirect_is_a_refusal_that_tells_where_to(void **state) {
  mp_raw_server server;
  opened result;
  request request;
  mp_raw_start(&server, answer_text,
               "HTTP/1.1 302 Found\r\nLocation: wss://moon.test/\r\nContent-Length: 0\r\n\r\n");
  opening_fails(*state, to(&request, server.url), "refused", &result);
  assert_contains(result.err.hint, "wss://moon.test/");
  mp_error_reset(&result.err);
  mp_raw_stop(&server);
}

static void a_server_without_websockets_is_told_apart(void **state) {
  static const struct {
    char *answer;
    const char *code;
  } cases[] = {
      {"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", MP_PROTOCOL},
      {"220 mail.moon.test ESMTP\r\n\r\n", MP_PROTOCOL},
      {"HTTP/1.1 101 Swit", "closed"},
      {"", "closed"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_raw_server server;
    request request;
    mp_raw_start(&server, answer_text, cases[i].answer);
    opening_fails(*state, to(&request, server.url), cases[i].code, NULL);
    mp_raw_stop(&server);
  }
  request request;
  opened result;
  opening_fails(*state, to(&request, "ws://127.0.0.1:1/"), "connect", &result);
  assert_string_equal(result.err.domain, "http");
  mp_error_reset(&result.err);
}

static void say_nothing(int fd, const char *request, void *data) {
  (void)request;
  (void)data;
  mp_raw_wait_gone(fd);
}

static void a_server_that_never_answers_is_given_up(void **state) {
  mp_raw_server server;
  request request;
  mp_raw_start(&server, say_nothing, NULL);
  to(&request, server.url)->http.timeout_ms = 50;
  opening_fails(*state, &request, MP_TIMEOUT, NULL);
  mp_raw_stop(&server);
}

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

static void drop_it(int fd, const char *request, void *data) {
  (void)data;
  mp_peer_agree(fd, request, NULL);
  mp_peer_frame(fd, 0x82, "whole", 5);
  mp_peer_frame(fd, 0x02, "half", 4);
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

static void agree_and_ignore(int fd, const char *request, void *data) {
  (void)data;
  mp_peer_agree(fd, request, NULL);
  mp_raw_wait_gone(fd);
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

static void nothing_due(uv_timer_t *timer) {
  (void)timer;
}

static void pass_time(mp_loop *loop, uint64_t milliseconds) {
  uint64_t end = mp_loop_now(loop) + milliseconds;
  uv_timer_t timer;
  uv_timer_init(&loop->uv, &timer);
  uv_timer_start(&timer, nothing_due, milliseconds, 0);
  while (mp_loop_now(loop) < end)
    uv_run(&loop->uv, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&loop->uv, UV_RUN_NOWAIT);
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

/* ---- ways to connect ------------------------------------------------------------------------ */

static void talk_over(mp_loop *loop, request *request) {
  mp_websocket *websocket = open_with(loop, request);
  size_t size = 3 << 20;
  char *bytes = mp_alloc(size);
  outcome sent = {0};
  received back = {0};
  mp_op *op;
  memset(bytes, 'm', size);
  start_send(websocket, bytes, size, &sent, &op);
  receive(loop, websocket, &back);
  assert_int_equal(back.bytes.len, size);
  assert_memory_equal(back.bytes.data, bytes, size);
  close_with(loop, websocket, 5000, NULL);
  mp_websocket_free(websocket);
  forget(&back);
  free(bytes);
}

static void tls_and_unix_sockets_carry_it(void **state) {
  mp_raw_server server;
  request request;
  char path[64];
  mp_raw_start(&server, mp_peer_echo, NULL);
  snprintf(path, sizeof path, "/websocket?port=%d", server.port);
  to(&request, at("wss", nginx.tls_port, path))->http.tls.ca_file = in_dir("ca.pem");
  talk_over(*state, &request);
  to(&request, plain(path))->http.unix_socket = nginx.socket;
  talk_over(*state, &request);
  to(&request, at("wss", nginx.tls_port, path));
  opening_fails(*state, &request, "tls", NULL);
  mp_raw_stop(&server);
}

/* "CONNECT 127.0.0.1:1234 HTTP/1.1": a tunnel to there. */
static void tunnel(int fd, const char *request, void *data) {
  struct sockaddr_in there = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const char *colon = strchr(request, ':');
  int onward = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  static char bytes[65536];
  ++*(int *)data;
  there.sin_port = htons((uint16_t)strtol(colon + 1, NULL, 10));
  if (strncmp(request, "CONNECT ", 8) != 0 ||
      connect(onward, (struct sockaddr *)&there, sizeof there) < 0) {
    mp_raw_send(fd, "HTTP/1.1 405 Tunnels Only\r\nContent-Length: 0\r\n\r\n");
    close(onward);
    return;
  }
  mp_raw_send(fd, "HTTP/1.1 200 Connected\r\n\r\n");
  struct pollfd both[2] = {{fd, POLLIN, 0}, {onward, POLLIN, 0}};
  while (poll(both, 2, -1) > 0) {
    int from = both[0].revents ? 0 : 1;
    ssize_t got = recv(both[from].fd, bytes, sizeof bytes, 0);
    if (got <= 0)
      break;
    mp_raw_send_bytes(both[1 - from].fd, bytes, (size_t)got);
  }
  close(onward);
}

static void a_proxy_is_tunnelled_through_with_and_without_tls(void **state) {
  mp_raw_server server, proxy;
  int tunnels = 0;
  request request;
  char path[64];
  mp_raw_start(&server, mp_peer_echo, NULL);
  mp_raw_start(&proxy, tunnel, &tunnels);
  snprintf(path, sizeof path, "/websocket?port=%d", server.port);
  to(&request, server.url)->http.proxy = proxy.url;
  mp_websocket *websocket = open_with(*state, &request);
  send_text(*state, websocket, "through");
  assert_message(*state, websocket, "through");
  mp_websocket_free(websocket);
  to(&request, at("https", nginx.tls_port, path))->http.tls.ca_file = in_dir("ca.pem");
  request.http.proxy = proxy.url;
  websocket = open_with(*state, &request);
  send_text(*state, websocket, "through");
  assert_message(*state, websocket, "through");
  mp_websocket_free(websocket);
  mp_raw_stop(&proxy);
  mp_raw_stop(&server);
  assert_int_equal(tunnels, 2);
}

static void exchanges_go_on_beside_it(void **state) {
  mp_raw_server server;
  mp_raw_start(&server, mp_peer_echo, NULL);
  mp_websocket *websocket = open_at(*state, server.url);
  for (int i = 0; i < 3; i++) {
    mp_http_options options = MP_HTTP_OPTIONS_INIT;
    options.url = plain("/small");
    mp_http_free(fetch_ok(*state, &options, 200));
    send_text(*state, websocket, "x");
    assert_message(*state, websocket, "x");
  }
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
      http_test(messages_come_back_as_they_were),
      http_test(fragments_become_one_message_and_pings_between_them_are_answered),
      http_test(what_comes_right_behind_the_answer_is_not_lost),
      http_test(the_request_says_who_asks_for_what),
      http_test(what_cannot_be_meant_is_refused_before_anything_is_sent),
      http_test(a_refusal_brings_status_and_body),
      http_test(a_redirect_is_a_refusal_that_tells_where_to),
      http_test(a_server_without_websockets_is_told_apart),
      http_test(a_server_that_never_answers_is_given_up),
      http_test(the_peers_close_comes_behind_its_messages_and_is_answered),
      http_test(an_end_without_a_good_bye_is_an_error_behind_what_came),
      http_test(a_close_that_nobody_answers_ends_at_its_deadline),
      http_test(what_was_sent_before_a_close_goes_out_before_it),
      http_test(a_broken_rule_ends_the_connection),
      http_test(a_message_over_the_limit_is_refused_also_in_pieces),
      http_test(a_silent_peer_is_noticed),
      http_test(a_quiet_peer_that_answers_pings_lives),
      http_test(a_peer_that_may_stall_is_not_dead_while_its_tcp_answers),
      http_test(a_ping_is_answered_or_ends_with_the_connection),
      http_test(a_reader_that_stops_holds_the_peer_up_and_loses_nothing),
      http_test(a_peer_that_does_not_read_holds_the_sender_up),
      http_test(a_peer_that_pings_and_does_not_read_is_held_up),
      http_test(tls_and_unix_sockets_carry_it),
      http_test(a_proxy_is_tunnelled_through_with_and_without_tls),
      http_test(exchanges_go_on_beside_it),
      http_test(opening_can_be_cancelled_at_every_turn),
      http_test(every_operation_can_be_cancelled_and_the_rest_goes_on),
      http_test(freeing_it_ends_what_is_under_way),
      http_test(it_can_be_freed_in_its_own_callback),
      http_test(an_open_one_does_not_keep_the_loop_running_by_itself),
  };
  return cmocka_run_group_tests(tests, start_nginx, stop_nginx);
}
