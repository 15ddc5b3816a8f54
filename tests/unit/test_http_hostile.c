/* Exchanges that go wrong: answers no real server gives, silence, and being called off. */
#include "http_fixture.h"

#include <sys/socket.h>
#include <unistd.h>

/* ---- answers -------------------------------------------------------------------------------- */

/* Sends the text that is the handler's data. */
static void answer(int fd, const char *request, void *data) {
  (void)request;
  mp_raw_send(fd, data);
}

static void says(mp_loop *loop, const char *text, const char *code, const char *words) {
  mp_raw_server server;
  mp_error err = MP_ERROR_INIT;
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  mp_raw_start(&server, answer, (void *)text);
  options.url = server.url;
  options.max_body = 100;
  fetch_fails(loop, &options, code, &err);
  assert_contains(err.message, "GET `http://127.0.0.1:");
  assert_contains(err.message, words);
  mp_error_reset(&err);
  mp_raw_stop(&server);
}

static void an_answer_that_breaks_off_is_an_error_and_not_a_short_body(void **state) {
  says(*state, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "closed", "before the body");
  says(*state, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "closed", "");
  says(*state, "HTTP/1.1 200 OK\r\nContent-Le", "closed", "");
  says(*state, "", "closed", "without an answer");
}

static void what_is_not_http_is_a_protocol_error(void **state) {
  says(*state, "SSH-2.0-OpenSSH_9.2\r\n", MP_PROTOCOL, "HTTP/0.9");
  says(*state, "HTTP/9.9 what\r\n\r\n", MP_PROTOCOL, "");
  says(*state, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "closed", "");
}

static void a_body_over_the_limit_is_refused_by_length_and_by_count(void **state) {
  says(*state, "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", MP_LIMIT, "100 bytes");
  char *text = mp_alloc(1024);
  memset(stpcpy(text, "HTTP/1.1 200 OK\r\n\r\n"), 'x', 200);
  says(*state, text, MP_LIMIT, "100 bytes");
  free(text);
}

static void endless_headers(int fd, const char *request, void *data) {
  (void)request, (void)data;
  mp_raw_send(fd, "HTTP/1.1 200 OK\r\n");
  for (int i = 0; i < 4096; i++) {
    char line[1024];
    memset(line, 'x', sizeof line);
    memcpy(line, "X-Pad: ", 7);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    mp_raw_send_bytes(fd, line, sizeof line);
  }
}

static void endless_headers_are_cut_off(void **state) {
  mp_raw_server server;
  mp_error err = MP_ERROR_INIT;
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  mp_raw_start(&server, endless_headers, NULL);
  options.url = server.url;
  fetch_fails(*state, &options, MP_LIMIT, &err);
  assert_contains(err.message, "header");
  mp_error_reset(&err);
  mp_raw_stop(&server);
}

static void nobody_listening_is_explained(void **state) {
  mp_raw_server server;
  mp_error err = MP_ERROR_INIT;
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  mp_raw_start(&server, answer, "");
  options.url = server.url;
  mp_raw_stop(&server); /* the port is free again */
  fetch_fails(*state, &options, "connect", &err);
  assert_string_equal(err.cause->code, "ECONNREFUSED");
  assert_contains(err.message, "Connection refused");
  assert_contains(err.hint, "is the service running?");
  mp_error_reset(&err);
}

static void an_unknown_host_is_a_resolve_error(void **state) {
  mp_error err = MP_ERROR_INIT;
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  options.url = "http://no-such-host.invalid/";
  fetch_fails(*state, &options, "resolve", &err);
  assert_contains(err.message, "no-such-host.invalid");
  mp_error_reset(&err);
}

static void secrets_in_a_url_do_not_reach_messages(void **state) {
  mp_error err = MP_ERROR_INIT;
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  options.url = "http://alice:hunter2@127.0.0.1:1/a?watch=1&access_token=hunter3&x=y#z";
  fetch_fails(*state, &options, "connect", &err);
  assert_contains(err.message, "`http://***@127.0.0.1:1/a?watch=1&access_token=***&x=y#z`");
  assert_null(strstr(err.message, "hunter"));
  mp_error_reset(&err);
}

/* ---- silence -------------------------------------------------------------------------------- */

static void stay_silent(int fd, const char *request, void *data) {
  (void)request;
  if (data)
    mp_raw_send(fd, data);
  mp_raw_wait_gone(fd);
}

static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf";

static void a_silent_server_runs_into_the_timeout_that_was_set(void **state) {
  mp_error err = MP_ERROR_INIT;
  for (int i = 0; i < 4; i++) {
    mp_raw_server server;
    mp_http_options options = MP_HTTP_OPTIONS_INIT;
    mp_raw_start(&server, stay_silent, i % 2 ? (void *)half : NULL);
    options.url = server.url;
    *(i < 2 ? &options.timeout_ms : &options.idle_timeout_ms) = 50;
    fetch_fails(*state, &options, MP_TIMEOUT, &err);
    static const char *const words[] = {"no answer within 0.05 s", "did not end within 0.05 s",
                                        "nothing came for 0.05 s", "nothing came for 0.05 s"};
    assert_contains(err.message, words[i]);
    mp_error_reset(&err);
    mp_raw_stop(&server);
  }
}

static void a_connection_that_is_not_taken_runs_into_the_connect_timeout(void **state) {
  mp_error err = MP_ERROR_INIT;
  mp_raw_server server;
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  mp_auto_free char *url = NULL;
  mp_raw_start(&server, stay_silent, NULL); /* accepts, and never shakes hands */
  url = mp_sprintf("https://127.0.0.1:%d/", server.port);
  options.url = url;
  options.connect_timeout_ms = 50;
  fetch_fails(*state, &options, MP_TIMEOUT, &err);
  assert_contains(err.message, "no connection within 0.05 s");
  mp_error_reset(&err);
  mp_raw_stop(&server);
}

static void a_slow_server_is_not_an_idle_one(void **state) {
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  options.url = plain("/slow/small");
  options.idle_timeout_ms = 2000;
  mp_http_free(fetch_ok(*state, &options, 200));
}

/* ---- backpressure --------------------------------------------------------------------------- */

static void an_unread_stream_stops_the_sender_and_is_not_idle(void **state) {
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  options.url = plain("/big");
  options.stream = true;
  options.buffer = 100000;
  options.idle_timeout_ms = 30;
  mp_http *http = fetch_ok(*state, &options, 200);
  outcome slept = {0};
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  for (int i = 0; i < 5; i++) { /* well beyond the idle timeout, reading nothing */
    mp_http_options other = MP_HTTP_OPTIONS_INIT;
    other.url = plain("/slow/small");
    other.timeout_ms = 30;
    mp_http_free(fetch(*state, &other, &slept));
    mp_error_reset(&slept.err);
    slept = (outcome){0};
  }
  size_t held = mp_http_peek(http).len;
  assert_true(held >= 100000 && held <= 100000 + 16 * 1024);
  size_t got = 0;
  while (!mp_http_ended(http)) {
    outcome read = {0};
    assert_int_equal(mp_http_read(http, note, &read, &op, &err), 0);
    run_until(*state, &read);
    assert_null(read.err.domain);
    got += mp_http_peek(http).len;
    mp_http_consume(http, mp_http_peek(http).len);
  }
  assert_int_equal(got, 8 << 20);
  mp_http_free(http);
}

/* On HTTP/2 both share one connection. */
static void an_unread_stream_does_not_hold_up_its_neighbours(void **state) {
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  options.url = tls("/big");
  options.tls.ca_file = in_dir("ca.pem");
  options.stream = true;
  options.buffer = 50000;
  mp_http *slow[3];
  for (int i = 0; i < 3; i++)
    slow[i] = fetch_ok(*state, &options, 200);
  mp_http_options other = MP_HTTP_OPTIONS_INIT;
  other.url = options.url;
  other.tls.ca_file = options.tls.ca_file;
  for (int i = 0; i < 3; i++) {
    mp_http *http = fetch_ok(*state, &other, 200);
    assert_int_equal(mp_http_response_of(http)->version, 20);
    assert_true(mp_http_response_of(http)->reused);
    assert_int_equal(mp_http_peek(http).len, 8 << 20);
    mp_http_free(http);
  }
  for (int i = 2; i >= 0; i--) {
    size_t got = 0;
    while (!mp_http_ended(slow[i])) {
      outcome read = {0};
      assert_int_equal(mp_http_read(slow[i], note, &read, &op, &err), 0);
      run_until(*state, &read);
      assert_null(read.err.domain);
      got += mp_http_peek(slow[i]).len;
      mp_http_consume(slow[i], mp_http_peek(slow[i]).len);
    }
    assert_int_equal(got, 8 << 20);
    mp_http_free(slow[i]);
  }
}

static void bytes_before_a_failure_are_read_first(void **state) {
  mp_raw_server server;
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  mp_raw_start(&server, answer, (void *)half);
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  options.url = server.url;
  options.stream = true;
  mp_http *http = fetch_ok(*state, &options, 200);
  mp_raw_stop(&server); /* so the failure has been there for long when we read */
  mp_loop_run(*state);
  outcome read = {0};
  assert_int_equal(mp_http_read(http, note, &read, &op, &err), 0);
  run_until(*state, &read);
  assert_null(read.err.domain);
  assert_body(http, "half");
  mp_http_consume(http, 4);
  assert_false(mp_http_ended(http));
  read = (outcome){0};
  assert_int_equal(mp_http_read(http, note, &read, &op, &err), 0);
  run_until(*state, &read);
  assert_string_equal(read.err.code, "closed");
  mp_error_reset(&read.err);
  mp_http_free(http);
}

/* ---- calling off ---------------------------------------------------------------------------- */

typedef struct {
  mp_http *http;
  outcome outcome;
} freeing;

static void start_waiting(mp_loop *loop, const mp_http_options *options, mp_http **http,
                          outcome *outcome, mp_op **op) {
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_http_start(loop, options, http, &err), 0);
  assert_int_equal(mp_http_wait(*http, note, outcome, op, &err), 0);
}

static void turn(mp_loop *loop, int turns) {
  while (turns-- > 0)
    uv_run(&loop->uv, UV_RUN_NOWAIT);
}

/* Whatever it is in the middle of: resolving, connecting, shaking hands, waiting, receiving. */
static void an_exchange_can_be_released_at_any_turn(void **state) {
  mp_auto_free char *named = mp_sprintf("http://localhost:%d/small", nginx.port);
  mp_auto_free char *lost = mp_strdup("http://no-such-host.invalid/");
  const char *const urls[] = {plain("/slow/big"), tls("/small"), named, lost};
  for (size_t i = 0; i < 4; i++) {
    for (int turns = 0; turns < 12; turns++) {
      mp_http_options options = MP_HTTP_OPTIONS_INIT;
      mp_http *http;
      mp_op *op;
      outcome outcome = {0};
      options.url = urls[i];
      options.tls.ca_file = in_dir("ca.pem");
      start_waiting(*state, &options, &http, &outcome, &op);
      turn(*state, turns);
      bool over = outcome.calls > 0;
      mp_http_free(http);
      run_until(*state, &outcome);
      if (!over)
        assert_string_equal(outcome.err.code, MP_CANCELLED);
      mp_error_reset(&outcome.err);
    }
  }
}

static void cancelling_ends_the_wait_and_not_the_exchange(void **state) {
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  mp_http *http;
  mp_op *op;
  mp_error err = MP_ERROR_INIT;
  outcome outcome = {0};
  options.url = plain("/small");
  start_waiting(*state, &options, &http, &outcome, &op);
  assert_int_equal(mp_http_wait(http, note, &outcome, &op, &err), -1); /* one at a time */
  assert_string_equal(err.code, MP_INVALID);
  mp_error_reset(&err);
  mp_op_cancel(op);
  mp_op_cancel(op);
  assert_int_equal(outcome.calls, 0);
  run_until(*state, &outcome);
  assert_string_equal(outcome.err.code, MP_CANCELLED);
  mp_error_reset(&outcome.err);
  outcome.calls = 0;
  assert_int_equal(mp_http_wait(http, note, &outcome, &op, &err), 0);
  run_until(*state, &outcome);
  assert_null(outcome.err.domain);
  assert_int_equal(mp_http_peek(http).len, 1024);
  mp_http_free(http);
}

static void release(void *data, const mp_error *err) {
  freeing *self = data;
  note(&self->outcome, err);
  mp_http_free(self->http);
}

static void an_exchange_can_be_released_from_its_own_callback(void **state) {
  for (int streamed = 0; streamed <= 1; streamed++) {
    mp_http_options options = MP_HTTP_OPTIONS_INIT;
    mp_error err = MP_ERROR_INIT;
    mp_op *op;
    freeing self = {0};
    options.url = plain("/big");
    options.stream = streamed;
    assert_int_equal(mp_http_start(*state, &options, &self.http, &err), 0);
    assert_int_equal(mp_http_wait(self.http, release, &self, &op, &err), 0);
    run_until(*state, &self.outcome);
    assert_null(self.outcome.err.domain);
  }
}

static void an_exchange_outlives_its_loop(void **state) {
  mp_loop loop;
  mp_error err = MP_ERROR_INIT;
  mp_http *http;
  mp_http_options options = MP_HTTP_OPTIONS_INIT;
  (void)state;
  options.url = plain("/slow/big");
  assert_int_equal(mp_loop_init(&loop, &err), 0);
  assert_int_equal(mp_http_start(&loop, &options, &http, &err), 0);
  turn(&loop, 5);
  mp_loop_close(&loop);
  mp_http_free(http);
}

static void many_exchanges_at_once_all_end(void **state) {
  enum { COUNT = 300 };
  static mp_http *https[COUNT];
  static outcome outcomes[COUNT];
  for (int i = 0; i < COUNT; i++) {
    mp_http_options options = MP_HTTP_OPTIONS_INIT;
    mp_op *op;
    outcomes[i] = (outcome){0};
    options.url = i % 3 == 0 ? plain("/small") : i % 3 == 1 ? tls("/small") : plain("/empty");
    options.tls.insecure = true;
    start_waiting(*state, &options, &https[i], &outcomes[i], &op);
    if (i % 7 == 0)
      mp_op_cancel(op);
  }
  for (int i = 0; i < COUNT; i++) {
    if (outcomes[i].calls == 0)
      run_until(*state, &outcomes[i]);
    assert_int_equal(outcomes[i].calls, 1);
    assert_true(i % 7 == 0 || !outcomes[i].err.domain);
    mp_error_reset(&outcomes[i].err);
    mp_http_free(https[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      http_test(an_answer_that_breaks_off_is_an_error_and_not_a_short_body),
      http_test(what_is_not_http_is_a_protocol_error),
      http_test(a_body_over_the_limit_is_refused_by_length_and_by_count),
      http_test(endless_headers_are_cut_off),
      http_test(nobody_listening_is_explained),
      http_test(an_unknown_host_is_a_resolve_error),
      http_test(secrets_in_a_url_do_not_reach_messages),
      http_test(a_silent_server_runs_into_the_timeout_that_was_set),
      http_test(a_connection_that_is_not_taken_runs_into_the_connect_timeout),
      http_test(a_slow_server_is_not_an_idle_one),
      http_test(an_unread_stream_stops_the_sender_and_is_not_idle),
      http_test(an_unread_stream_does_not_hold_up_its_neighbours),
      http_test(bytes_before_a_failure_are_read_first),
      http_test(an_exchange_can_be_released_at_any_turn),
      http_test(cancelling_ends_the_wait_and_not_the_exchange),
      http_test(an_exchange_can_be_released_from_its_own_callback),
      http_test(an_exchange_outlives_its_loop),
      http_test(many_exchanges_at_once_all_end),
  };
  return cmocka_run_group_tests(tests, start_nginx, stop_nginx);
}
