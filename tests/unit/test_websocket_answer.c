/* Answers to an upgrade request, as they come from servers and as they should not. */
#include "unit.h"

#include "core/websocket_answer.h"

#include <stdio.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455, 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define YES                                                                                        \
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"              \
  "Sec-WebSocket-Accept: " ACCEPT "\r\n"

/* Feeds the text in pieces of `step` bytes; returns how many of them were the answer's. */
static size_t feed(mp_websocket_answer *answer, const char *text, size_t step, mp_error *err) {
  size_t len = strlen(text), total = 0;
  while (total < len && answer->state != MP_ANSWER_COMPLETE) {
    size_t used, count = len - total < step ? len - total : step;
    if (mp_websocket_answer_feed(answer, text + total, count, &used, err) < 0)
      return total;
    total += used;
    if (used < count)
      break;
  }
  return total;
}

/* The verdict on a whole answer: NULL for a yes, else the error's code. */
static const char *judge(const char *text, const char **protocol) {
  static const char *const offered[] = {"v5.test", "v4.test"};
  static char code[32];
  mp_websocket_answer answer = {0};
  mp_error err = MP_ERROR_INIT;
  feed(&answer, text, SIZE_MAX, &err);
  if (!err.domain)
    mp_websocket_answer_end(&answer, &err);
  if (!err.domain)
    mp_websocket_answer_check(&answer, KEY, offered, 2, protocol, &err);
  snprintf(code, sizeof code, "%s", err.domain ? err.code : "");
  mp_error_reset(&err);
  mp_websocket_answer_reset(&answer);
  return *code ? code : NULL;
}

static void what_follows_a_yes_is_not_the_answers(void **state) {
  (void)state;
  for (size_t step = 1; step < 300; step += 7) {
    mp_websocket_answer answer = {0};
    mp_error err = MP_ERROR_INIT;
    assert_int_equal(feed(&answer, YES "\r\n\x81\x05hello", step, &err), strlen(YES) + 2);
    assert_int_equal(answer.state, MP_ANSWER_COMPLETE);
    assert_int_equal(answer.status, 101);
    assert_string_equal(mp_websocket_answer_reason(&answer), "Switching Protocols");
    mp_websocket_answer_reset(&answer);
  }
}

static void a_yes_is_a_yes_in_any_spelling(void **state) {
  (void)state;
  const char *protocol = "none yet";
  assert_null(judge(YES "\r\n", &protocol));
  assert_null(protocol);
  assert_null(judge("HTTP/1.1 101\nUPGRADE: WebSocket\nconnection: keep-alive, upgrade\n"
                    "sec-websocket-accept:" ACCEPT "\nSec-WebSocket-Protocol: v4.test\n\n",
                    &protocol));
  assert_string_equal(protocol, "v4.test");
  assert_null(judge(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" YES "\r\n",
      &protocol));
}

static void what_is_not_quite_a_yes_is_refused(void **state) {
  (void)state;
  static const char *const cases[] = {
      "HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
      "HTTP/1.1 101 Fine\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
      "HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
      "HTTP/1.1 101 Fine\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT
      "\r\n\r\n",
      "HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
      YES "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
      YES "Sec-WebSocket-Protocol: v3.test\r\n\r\n",
      YES "Sec-WebSocket-Protocol: v4.test\r\nSec-WebSocket-Protocol: v5.test\r\n\r\n",
      YES "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
      "SSH-2.0-OpenSSH_9.2\r\n\r\n",
      "HTTP/2 101 Switching Protocols\r\n\r\n",
      "HTTP/1.1 1x1 Odd\r\n\r\n",
      "\r\n\r\n",
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *protocol = NULL, *code = judge(cases[i], &protocol);
    if (!code || strcmp(code, MP_PROTOCOL) != 0)
      fail_msg("case %zu: %s", i, code ? code : "a yes");
    assert_null(protocol);
  }
  const char *protocol = NULL;
  assert_string_equal(judge("HTTP/1.1 101 Switching", &protocol), "closed");
  assert_string_equal(judge("", &protocol), "closed");
}

static void assert_refused(const char *text, size_t step, int status, const char *body) {
  mp_websocket_answer answer = {0};
  mp_error err = MP_ERROR_INIT;
  feed(&answer, text, step, &err);
  if (!err.domain)
    mp_websocket_answer_end(&answer, &err);
  if (err.domain)
    fail_msg("%s", err.message);
  assert_int_equal(answer.status, status);
  assert_string_equal(answer.body.data ? answer.body.data : "", body);
  mp_websocket_answer_reset(&answer);
}

static void a_refusal_is_read_with_its_body_however_it_is_framed(void **state) {
  (void)state;
  for (size_t step = 1; step < 80; step += 3) {
    assert_refused("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nnever and more", step, 403,
                   "never");
    assert_refused("HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3;why=not\r\nnot\r\n00B \r\n a document\r\n0\r\nX: y\r\n\r\n",
                   step, 400, "not a document");
    assert_refused("HTTP/1.0 500 Oh\n\nto the very end", step, 500, "to the very end");
    assert_refused("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", step, 403, "");
    assert_refused("HTTP/1.1 404 \r\nContent-Length: 50\r\n\r\ncut short", step, 404, "cut short");
  }
}

static void broken_framing_is_an_error(void **state) {
  (void)state;
  static const char *const cases[] = {
      "HTTP/1.1 400 Bad\r\nContent-Length: many\r\n\r\n",
      "HTTP/1.1 400 Bad\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
      "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
      "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n1111111111111111\r\n",
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mp_websocket_answer answer = {0};
    mp_error err = MP_ERROR_INIT;
    feed(&answer, cases[i], 1, &err);
    if (!mp_error_is(&err, MP_PROTOCOL))
      fail_msg("case %zu passed", i);
    mp_error_reset(&err);
    mp_websocket_answer_reset(&answer);
  }
}

static void head_and_body_are_bounded(void **state) {
  (void)state;
  char *text = malloc(200001);
  memset(text, 'a', 200000);
  text[200000] = '\0';
  mp_error err = MP_ERROR_INIT;
  mp_websocket_answer answer = {0};
  feed(&answer, "HTTP/1.1 101 Yes\r\nX: ", SIZE_MAX, &err);
  feed(&answer, text, 4096, &err);
  assert_true(mp_error_is(&err, MP_LIMIT));
  mp_error_reset(&err);
  mp_websocket_answer_reset(&answer);
  feed(&answer, "HTTP/1.1 400 No\r\n\r\n", SIZE_MAX, &err);
  feed(&answer, text, 4096, &err);
  assert_int_equal(answer.state, MP_ANSWER_COMPLETE);
  assert_int_equal(answer.body.len, MP_WEBSOCKET_ANSWER_BODY);
  assert_null(err.domain);
  mp_websocket_answer_reset(&answer);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_follows_a_yes_is_not_the_answers),
      cmocka_unit_test(a_yes_is_a_yes_in_any_spelling),
      cmocka_unit_test(what_is_not_quite_a_yes_is_refused),
      cmocka_unit_test(a_refusal_is_read_with_its_body_however_it_is_framed),
      cmocka_unit_test(broken_framing_is_an_error),
      cmocka_unit_test(head_and_body_are_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
