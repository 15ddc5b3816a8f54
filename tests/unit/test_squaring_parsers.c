#include "unit.h"

#include "config.h"
#include "json.h"
#include "keystore.h"
#include "rpc.h"
#include "square.h"
#include "url.h"

#include <stdio.h>

static void squares_are_exact_up_to_64_bits(void **state) {
  (void)state;
  static const struct {
    uint64_t number;
    const char *square;
  } cases[] = {
      {0, "0"},
      {1, "1"},
      {12, "144"},
      {UINT32_MAX, "18446744065119617025"},
      {UINT64_MAX, "340282366920938463426481119284349108225"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[SQUARE_SIZE];
    square(text, cases[i].number);
    assert_string_equal(text, cases[i].square);
  }
}

static uint64_t block_of(const char *body) {
  uint64_t block = 12345;
  reason why = {""};
  if (rpc_block_number_answer(&block, body, strlen(body), 7, &why) != 0)
    fail_msg("%s", why.text);
  return block;
}

static void assert_no_block(const char *body, const char *message) {
  uint64_t block;
  reason why = {""};
  assert_int_equal(rpc_block_number_answer(&block, body, strlen(body), 7, &why), -1);
  if (strstr(why.text, message) == NULL)
    fail_msg("`%s` lacks `%s`", why.text, message);
}

static void block_numbers_are_read_from_answers(void **state) {
  (void)state;
  assert_int_equal(block_of("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"0x0\"}"), 0);
  assert_int_equal(block_of(" { \"result\" : \"0x10D4f\" , \"id\" : 7 }\r\n"), 68943);
  assert_int_equal(block_of("{\"id\":7,\"error\":null,\"result\":\"0xffffffff\"}"), UINT32_MAX);
  assert_int_equal(block_of("{\"id\":7,\"x\":[{\"result\":\"0x1\"},[],{},-1.5e3,true,null],"
                            "\"result\":\"\\u0030x2\"}"),
                   2);
}

static void answers_without_a_block_number_say_why(void **state) {
  (void)state;
  assert_no_block("", "not a JSON-RPC object");
  assert_no_block("<html>", "not a JSON-RPC object");
  assert_no_block("[]", "not a JSON-RPC object");
  assert_no_block("{\"id\":7,\"result\":\"0x1\"} x", "not a JSON-RPC object");
  assert_no_block("{\"id\":7,\"result\":\"0x1\",}", "not a JSON-RPC object");
  assert_no_block("{\"id\":7,\"result\":\"0x1\"", "not a JSON-RPC object");
  assert_no_block("{\"id\":7}", "no result");
  assert_no_block("{\"id\":7,\"result\":null}", "no result");
  assert_no_block("{\"id\":7,\"result\":1}", "no result");
  assert_no_block("{\"id\":8,\"result\":\"0x1\"}", "another request");
  assert_no_block("{\"result\":\"0x1\"}", "another request");
  assert_no_block("{\"id\":7,\"result\":\"0x\"}", "not a block number");
  assert_no_block("{\"id\":7,\"result\":\"12\"}", "not a block number");
  assert_no_block("{\"id\":7,\"result\":\"0xfg\"}", "not a block number");
  assert_no_block("{\"id\":7,\"result\":\"0xffffffffffffffff\"}", "not a block number");
  assert_no_block("{\"id\":7,\"result\":\"0x10000000000000000\"}", "64 bits");
  assert_no_block("{\"id\":7,\"error\":{\"code\":-32601,\"message\":\"no such method\"}}",
                  "no such method (-32601)");
  assert_no_block("{\"id\":null,\"error\":\"down\"}", "refused");
}

static void a_request_is_plain_http_with_the_url_parts(void **state) {
  (void)state;
  char request[RPC_REQUEST_MAX];
  url to;
  reason why;
  assert_int_equal(url_parse(&to, "http://[::1]:8545/v1?key=x#frag", &why), 0);
  size_t len = rpc_block_number_request(request, &to, 7);
  assert_int_equal(len, strlen(request));
  assert_ptr_equal(strstr(request, "POST /v1?key=x HTTP/1.1\r\nHost: [::1]:8545\r\n"), request);
  const char *body = strstr(request, "\r\n\r\n") + 4;
  char length[40];
  snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body));
  assert_non_null(strstr(request, length));
  json j = {body, body + strlen(body)};
  assert_true(json_skip(&j));
  assert_true(json_at_end(&j));
}

static void json_strings_are_decoded_and_cut(void **state) {
  (void)state;
  char out[16];
  const char *text = "\"a\\n\\u00e9\\ud83d\\ude00\\/\"";
  json j = {text, text + strlen(text)};
  assert_true(json_string(&j, out, sizeof out));
  assert_string_equal(out, "a\n\xc3\xa9\xf0\x9f\x98\x80/");
  j = (json){text, text + strlen(text)};
  assert_true(json_string(&j, out, 4)); /* the two bytes of \u00e9 do not fit any more */
  assert_string_equal(out, "a\n");
  assert_true(json_at_end(&j));
}

static void malformed_json_is_refused_at_every_length(void **state) {
  (void)state;
  static const char *const bad[] = {
      "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\x\"", "\"a\nb\"", "01",
      "-",           "1.",          "1e",          "tru",     "[1,]",     "[1 2]",
      "{1:2}",       "{,}",         "{\"a\"}",     "nul",     "'a'",      "]",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    json j = {bad[i], bad[i] + strlen(bad[i])};
    if (json_skip(&j) && json_at_end(&j))
      fail_msg("accepted %s", bad[i]);
  }
  const char *good = "{\"a\":[1,-2.5e+3,\"\\ud83d\\ude00\"],\"b\":{\"c\":null}}";
  for (size_t len = 0; len < strlen(good); len++) {
    /* A copy of exactly this length lets AddressSanitizer see a read past the end. */
    char *copy = malloc(len + 1);
    memcpy(copy, good, len);
    json j = {copy, copy + len};
    assert_false(json_skip(&j));
    free(copy);
  }
  char deep[200];
  memset(deep, '[', sizeof deep);
  json j = {deep, deep + sizeof deep};
  assert_false(json_skip(&j));
}

static void assert_url(const char *text, const char *host, const char *port, const char *target) {
  url parsed;
  reason why = {""};
  if (url_parse(&parsed, text, &why) != 0)
    fail_msg("%s", why.text);
  assert_string_equal(parsed.host, host);
  assert_string_equal(parsed.port, port);
  assert_string_equal(parsed.target, target);
}

static void assert_no_url(const char *text, const char *message) {
  url parsed;
  reason why = {""};
  assert_int_equal(url_parse(&parsed, text, &why), -1);
  if (strstr(why.text, message) == NULL)
    fail_msg("`%s` lacks `%s`", why.text, message);
}

static void urls_are_taken_apart_or_refused_by_name(void **state) {
  (void)state;
  assert_url("http://127.0.0.1:8545", "127.0.0.1", "8545", "/");
  assert_url("HTTP://node", "node", "80", "/");
  assert_url("http://node?x=1", "node", "80", "/?x=1");
  assert_url("http://[fe80::1]/a/b", "fe80::1", "80", "/a/b");
  assert_no_url("https://node", "TLS");
  assert_no_url("ws://node", "not an http:// URL");
  assert_no_url("http://", "no host");
  assert_no_url("http://u:p@node", "password");
  assert_no_url("http://node:0x50", "not a port");
  assert_no_url("http://node:65536", "out of range");
  assert_no_url("http://[::1", "bracket");
  assert_no_url("http://node/\r\nX: y", "0x0d");
}

static void keystore_uris_become_paths(void **state) {
  (void)state;
  static const struct {
    const char *uri, *path;
  } cases[] = {
      {"./keys", "./keys"},
      {"/mnt/keystore", "/mnt/keystore"},
      {"file:///mnt/key%20store", "/mnt/key store"},
      {"file://localhost/mnt", "/mnt"},
      {"file:/mnt", "/mnt"},
      {"file://keys", NULL},
      {"file:///a%0", NULL},
      {"file:///a%00", NULL},
      {"s3://bucket", NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[64];
    reason why;
    int expected = cases[i].path ? 0 : -1;
    assert_int_equal(keystore_path(path, sizeof path, cases[i].uri, &why), expected);
    if (expected == 0)
      assert_string_equal(path, cases[i].path);
  }
}

static void set_environment(void) {
  static const char *const all[] = {"WS_RPC_URL",
                                    "BLUEPRINT_ID",
                                    "SERVICE_ID",
                                    "PROTOCOL",
                                    "CHAIN",
                                    "BOOTNODES",
                                    "BRIDGE_SOCKET_PATH",
                                    "METRICS_ADDR",
                                    "DATA_DIR",
                                    "REGISTRATION_MODE_ON",
                                    "REGISTRATION_OUTPUT_PATH"};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    unsetenv(all[i]);
  setenv("HTTP_RPC_URL", "http://127.0.0.1:8545", 1);
  setenv("KEYSTORE_URI", "/keys", 1);
  setenv("DATA_DIR", "/data", 1);
}

static void the_contract_is_read_from_environment_and_arguments(void **state) {
  (void)state;
  config c;
  reason why = {""};
  char *argv[] = {"x",         "run",      "--test-mode", "--pretty",           "-vv",
                  "--dry-run", "--listen", "[::1]:0",     "--poll-interval-ms", "250"};
  set_environment();
  setenv("SERVICE_ID", "18446744073709551615", 1);
  if (config_read(&c, 10, argv, &why) != CONFIG_RUN)
    fail_msg("%s", why.text);
  assert_true(c.test_mode && c.pretty && c.dry_run);
  assert_int_equal(c.verbose, 2);
  assert_int_equal(c.poll_ms, 250);
  assert_string_equal(c.listen, "[::1]:0");
  assert_true(c.service_id == UINT64_MAX);
  assert_string_equal(c.rpc.port, "8545");
  assert_string_equal(c.chain, "");
  assert_false(c.registration_mode);
}

static void assert_refused_config(int argc, char **argv, const char *message) {
  config c;
  reason why = {""};
  assert_int_equal(config_read(&c, argc, argv, &why), -1);
  if (strstr(why.text, message) == NULL)
    fail_msg("`%s` lacks `%s`", why.text, message);
}

static void what_the_contract_does_not_know_is_refused_by_name(void **state) {
  (void)state;
  char *none[] = {"x"}, *run[] = {"x", "run"}, *unknown[] = {"x", "run", "--fast", "1"},
       *lacking[] = {"x", "run", "--listen"};
  set_environment();
  assert_refused_config(1, none, "`run`");
  assert_refused_config(4, unknown, "--fast");
  assert_refused_config(3, lacking, "--listen");
  setenv("SERVICE_ID", "-1", 1);
  assert_refused_config(2, run, "SERVICE_ID");
  unsetenv("SERVICE_ID");
  setenv("REGISTRATION_MODE_ON", "yes", 1);
  assert_refused_config(2, run, "REGISTRATION_MODE_ON");
  setenv("REGISTRATION_MODE_ON", "true", 1);
  assert_refused_config(2, run, "REGISTRATION_OUTPUT_PATH");
  setenv("REGISTRATION_MODE_ON", "false", 1);
  setenv("HTTP_RPC_URL", "https://node", 1);
  assert_refused_config(2, run, "HTTP_RPC_URL");
  unsetenv("DATA_DIR");
  assert_refused_config(2, run, "DATA_DIR");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(squares_are_exact_up_to_64_bits),
      cmocka_unit_test(block_numbers_are_read_from_answers),
      cmocka_unit_test(answers_without_a_block_number_say_why),
      cmocka_unit_test(a_request_is_plain_http_with_the_url_parts),
      cmocka_unit_test(json_strings_are_decoded_and_cut),
      cmocka_unit_test(malformed_json_is_refused_at_every_length),
      cmocka_unit_test(urls_are_taken_apart_or_refused_by_name),
      cmocka_unit_test(keystore_uris_become_paths),
      cmocka_unit_test(the_contract_is_read_from_environment_and_arguments),
      cmocka_unit_test(what_the_contract_does_not_know_is_refused_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
