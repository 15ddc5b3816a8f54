#include "unit.h"

#include "http_response.h"

#include <stdio.h>

static http_response response;

/* Parses `text` cut in two at `cut`; the connection then ends. */
static int parse_cut(const char *text, size_t cut, reason *why) {
  size_t len = strlen(text);
  http_response_begin(&response);
  int ended = http_response_feed(&response, text, cut, why);
  if (ended < 0)
    return ended;
  int more = http_response_feed(&response, text + cut, len - cut, why);
  return more == 0 ? http_response_eof(&response, why) : more;
}

static void assert_body_at_every_cut(const char *text, int status, const char *body) {
  reason why = {""};
  for (size_t cut = 0; cut <= strlen(text); cut++) {
    if (parse_cut(text, cut, &why) != 1)
      fail_msg("cut at %zu: %s", cut, why.text);
    assert_int_equal(response.status, status);
    assert_string_equal(response.body, body);
    assert_int_equal(response.body_len, strlen(body));
  }
}

static void assert_refused(const char *text, const char *message) {
  reason why = {""};
  for (size_t cut = 0; cut <= strlen(text); cut++) {
    assert_int_equal(parse_cut(text, cut, &why), -1);
    if (strstr(why.text, message) == NULL)
      fail_msg("cut at %zu: `%s` lacks `%s`", cut, why.text, message);
  }
}

static void a_sized_body_is_read_at_every_split(void **state) {
  (void)state;
  assert_body_at_every_cut("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello");
  assert_true(response.keep_alive);
}

static void a_chunked_body_is_read_at_every_split(void **state) {
  (void)state;
  assert_body_at_every_cut("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
                           "3\r\nhel\r\n000A;ext=\"x\"\r\nlo, world!\r\n0\r\nTrailer: x\r\n\r\n",
                           200, "hello, world!");
  assert_true(response.keep_alive);
}

static void a_body_may_end_with_the_connection(void **state) {
  (void)state;
  assert_body_at_every_cut("HTTP/1.0 502 Bad Gateway\r\n\r\nsorry", 502, "sorry");
  assert_false(response.keep_alive);
}

static void interim_answers_are_passed_over(void **state) {
  (void)state;
  assert_body_at_every_cut("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n"
                           "\r\nHTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
                           200, "ok");
}

static void no_body_follows_204(void **state) {
  (void)state;
  assert_body_at_every_cut("HTTP/1.1 204 No Content\r\n\r\n", 204, "");
}

static void close_and_excess_bytes_forbid_reuse(void **state) {
  (void)state;
  assert_body_at_every_cut("HTTP/1.1 200 OK\nConnection: foo, Close\nContent-Length: 0\n\n", 200,
                           "");
  assert_false(response.keep_alive);

  reason why;
  const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab";
  http_response_begin(&response);
  assert_int_equal(http_response_feed(&response, text, strlen(text), &why), 1);
  assert_string_equal(response.body, "a");
  assert_false(response.keep_alive);
}

static void what_is_not_http_is_refused(void **state) {
  (void)state;
  assert_refused("SSH-2.0-OpenSSH_9.2\r\n", "not HTTP");
  assert_refused("HTTP/2 200\r\n", "not HTTP");
  assert_refused("HTTP/1.1 20 OK\r\n", "not HTTP");
  assert_refused("HTTP/1.1 200 OK\r\nno colon\r\n", "bad header");
  assert_refused("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length");
  assert_refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                 "Content-Length");
  assert_refused("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                 "Content-Length");
  assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding");
  assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk size");
  assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "chunk");
  assert_refused("HTTP/1.1 101 Switching Protocols\r\n\r\n", "protocols");
}

static void a_connection_that_ends_early_is_told(void **state) {
  (void)state;
  assert_refused("", "without an answer");
  assert_refused("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "in the middle");
  assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                 "in the middle");
}

static void a_body_larger_than_the_limit_is_refused(void **state) {
  (void)state;
  reason why = {""};
  char block[1024];
  int ended = 0;
  memset(block, 'x', sizeof block);
  http_response_begin(&response);
  http_response_feed(&response, "HTTP/1.1 200 OK\r\n\r\n", 19, &why);
  for (int i = 0; i < RESPONSE_BODY_MAX / (int)sizeof block; i++)
    assert_int_equal(http_response_feed(&response, block, sizeof block, &why), 0);
  ended = http_response_feed(&response, block, 1, &why);
  assert_int_equal(ended, -1);
  assert_non_null(strstr(why.text, "longer than"));
}

static void endless_headers_are_refused(void **state) {
  (void)state;
  reason why = {""};
  int ended = 0, lines = 0;
  http_response_begin(&response);
  http_response_feed(&response, "HTTP/1.1 200 OK\r\n", 17, &why);
  while ((ended = http_response_feed(&response, "A: b\r\n", 6, &why)) == 0 && lines < 1000)
    lines++;
  assert_int_equal(ended, -1);
  assert_int_equal(lines, RESPONSE_HEADERS_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_sized_body_is_read_at_every_split),
      cmocka_unit_test(a_chunked_body_is_read_at_every_split),
      cmocka_unit_test(a_body_may_end_with_the_connection),
      cmocka_unit_test(interim_answers_are_passed_over),
      cmocka_unit_test(no_body_follows_204),
      cmocka_unit_test(close_and_excess_bytes_forbid_reuse),
      cmocka_unit_test(what_is_not_http_is_refused),
      cmocka_unit_test(a_connection_that_ends_early_is_told),
      cmocka_unit_test(a_body_larger_than_the_limit_is_refused),
      cmocka_unit_test(endless_headers_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
