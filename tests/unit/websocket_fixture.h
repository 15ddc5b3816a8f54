/* What the websocket tests share: WebSockets opened and used to the end of one operation. */
#ifndef MP_TESTS_WEBSOCKET_FIXTURE_H
#define MP_TESTS_WEBSOCKET_FIXTURE_H

#include "http_fixture.h"

#include "core/websocket.h"
#include "tests/fixtures/websocket_peer.h"

typedef struct {
  int calls;
  mp_websocket *websocket;
  mp_error err;
  int status;
  char body[256];
} opened;

typedef struct {
  mp_http_options http;
  mp_websocket_options options;
} request;

typedef struct {
  int calls;
  mp_error err;
  bool ended;
  mp_websocket_kind kind;
  mp_buf bytes;
} received;

/* A connect callback. */
void on_open(void *opened, mp_websocket *websocket, const mp_websocket_refusal *refusal,
             const mp_error *err);

/* A request to this URL with nothing else set. */
request *to(request *self, const char *url);
mp_op *start(mp_loop *loop, const request *request, opened *result);

/* Runs the loop until *calls is no longer 0. */
void run_while_none(mp_loop *loop, const int *calls);

mp_websocket *open_with(mp_loop *loop, request *request);
mp_websocket *open_at(mp_loop *loop, const char *url);
void opening_fails(mp_loop *loop, request *request, const char *code, opened *into);

/* Each runs the loop to the end of its operation, unless it begins with `start`. */
void start_receive(mp_websocket *websocket, received *result, mp_op **op);
void receive(mp_loop *loop, mp_websocket *websocket, received *result);
void forget(received *result);
void assert_message(mp_loop *loop, mp_websocket *websocket, const char *expected);
void assert_ended(mp_loop *loop, mp_websocket *websocket, unsigned code, const char *reason);
void receiving_fails(mp_loop *loop, mp_websocket *websocket, const char *code);
void on_done(void *outcome, const mp_error *err);
void start_send(mp_websocket *websocket, const void *bytes, size_t len, outcome *outcome,
                mp_op **op);
void send_text(mp_loop *loop, mp_websocket *websocket, const char *text);
void close_with(mp_loop *loop, mp_websocket *websocket, uint64_t timeout, const char *wanted);

/* Runs the loop for that long. */
void pass_time(mp_loop *loop, uint64_t milliseconds);

/* Handlers: one that upgrades and reads without a word; one that sends a message and a half and is
 * gone. */
void agree_and_ignore(int fd, const char *request, void *data);
void drop_it(int fd, const char *request, void *data);

#endif
