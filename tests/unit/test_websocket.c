/* WebSockets against a peer on a thread of its own: messages, refusals, ways to connect. */
#include "websocket_fixture.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

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
      http_test(tls_and_unix_sockets_carry_it),
      http_test(a_proxy_is_tunnelled_through_with_and_without_tls),
      http_test(exchanges_go_on_beside_it),
  };
  return cmocka_run_group_tests(tests, start_nginx, stop_nginx);
}
