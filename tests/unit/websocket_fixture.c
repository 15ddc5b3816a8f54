#include "websocket_fixture.h"

void on_open(void *data, mp_websocket *websocket, const mp_websocket_refusal *refusal,
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

request *to(request *self, const char *url) {
  *self = (request){.http = MP_HTTP_OPTIONS_INIT};
  self->http.url = url;
  self->options.http = &self->http;
  return self;
}

mp_op *start(mp_loop *loop, const request *request, opened *result) {
  mp_error err = MP_ERROR_INIT;
  mp_op *op = NULL;
  if (mp_websocket_connect(loop, &request->options, on_open, result, &op, &err) < 0)
    fail_msg("%s", err.message);
  assert_int_equal(result->calls, 0);
  return op;
}

void run_while_none(mp_loop *loop, const int *calls) {
  while (*calls == 0)
    if (!uv_run(&loop->uv, UV_RUN_ONCE) && *calls == 0)
      fail_msg("the loop ended before the operation");
}

mp_websocket *open_with(mp_loop *loop, request *request) {
  opened result = {0};
  start(loop, request, &result);
  run_while_none(loop, &result.calls);
  if (result.err.domain)
    fail_msg("%s: %s", result.err.code, result.err.message);
  assert_non_null(result.websocket);
  return result.websocket;
}

mp_websocket *open_at(mp_loop *loop, const char *url) {
  request request;
  return open_with(loop, to(&request, url));
}

void opening_fails(mp_loop *loop, request *request, const char *code, opened *into) {
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

void start_receive(mp_websocket *websocket, received *result, mp_op **op) {
  mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_websocket_receive(websocket, on_message, result, op, &err), 0);
  assert_int_equal(result->calls, 0);
}

void receive(mp_loop *loop, mp_websocket *websocket, received *result) {
  mp_op *op;
  result->calls = 0;
  start_receive(websocket, result, &op);
  run_while_none(loop, &result->calls);
}

void forget(received *result) {
  mp_buf_free(&result->bytes);
  mp_error_reset(&result->err);
}

void assert_message(mp_loop *loop, mp_websocket *websocket, const char *expected) {
  received result = {0};
  receive(loop, websocket, &result);
  if (result.err.domain)
    fail_msg("%s", result.err.message);
  assert_false(result.ended);
  assert_string_equal(result.bytes.data, expected);
  forget(&result);
}

void assert_ended(mp_loop *loop, mp_websocket *websocket, unsigned code, const char *reason) {
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

void receiving_fails(mp_loop *loop, mp_websocket *websocket, const char *code) {
  received result = {0};
  receive(loop, websocket, &result);
  if (!result.err.domain || strcmp(result.err.code, code) != 0)
    fail_msg("%s: %s; wanted %s", result.err.code, result.err.message, code);
  forget(&result);
}

void on_done(void *data, const mp_error *err) {
  outcome *outcome = data;
  outcome->calls++;
  if (err)
    mp_error_copy(&outcome->err, err);
}

void start_send(mp_websocket *websocket, const void *bytes, size_t len, outcome *outcome,
                mp_op **op) {
  mp_error err = MP_ERROR_INIT;
  if (mp_websocket_send(websocket, MP_WEBSOCKET_BINARY, bytes, len, on_done, outcome, op, &err) < 0)
    fail_msg("%s", err.message);
  assert_int_equal(outcome->calls, 0);
}

void send_text(mp_loop *loop, mp_websocket *websocket, const char *text) {
  outcome outcome = {0};
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  assert_int_equal(mp_websocket_send(websocket, MP_WEBSOCKET_TEXT, text, strlen(text), on_done,
                                     &outcome, &op, &err),
                   0);
  run_while_none(loop, &outcome.calls);
  assert_null(outcome.err.domain);
}

void close_with(mp_loop *loop, mp_websocket *websocket, uint64_t timeout, const char *wanted) {
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

static void nothing_due(uv_timer_t *timer) {
  (void)timer;
}

void pass_time(mp_loop *loop, uint64_t milliseconds) {
  uint64_t end = mp_loop_now(loop) + milliseconds;
  uv_timer_t timer;
  uv_timer_init(&loop->uv, &timer);
  uv_timer_start(&timer, nothing_due, milliseconds, 0);
  while (mp_loop_now(loop) < end)
    uv_run(&loop->uv, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&loop->uv, UV_RUN_NOWAIT);
}

void agree_and_ignore(int fd, const char *request, void *data) {
  (void)data;
  mp_peer_agree(fd, request, NULL);
  mp_raw_wait_gone(fd);
}

void drop_it(int fd, const char *request, void *data) {
  (void)data;
  mp_peer_agree(fd, request, NULL);
  mp_peer_frame(fd, 0x82, "whole", 5);
  mp_peer_frame(fd, 0x02, "half", 4);
}
