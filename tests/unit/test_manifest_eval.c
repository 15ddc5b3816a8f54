#include "unit.h"

#include "lua/manifest_eval.h"

#include <stdio.h>
#include <string.h>

static mp_buf json;

static const char *eval_bytes(const char *text, size_t len) {
  mp_buf_free(&json);
  mp_manifest_eval(text, len, &json);
  return json.data;
}

static const char *eval(const char *text) {
  return eval_bytes(text, strlen(text));
}

#define assert_holds(text, part)                                                                   \
  do {                                                                                             \
    if (strstr((text), (part)) == NULL)                                                            \
      fail_msg("`%s` is not in: %s", (part), (text));                                              \
  } while (0)

static void numbers_keep_their_type(void **state) {
  (void)state;
  assert_string_equal(eval("return { 1, 1.0, -3, 1e300, 0.1 }"),
                      "{\"ok\":[1,1.0,-3,1.0000000000000001e+300,0.10000000000000001]}");
  assert_string_equal(eval("return { n = math.mininteger }"),
                      "{\"ok\":{\"n\":-9223372036854775808}}");
  assert_holds(eval("return { a = { b = 0/0 } }"), "\"path\":\"a.b\"");
}

static void lists_and_tables_are_told_apart(void **state) {
  (void)state;
  assert_string_equal(eval("return { { }, { 1 }, { a = true } }"),
                      "{\"ok\":[{},[1],{\"a\":true}]}");
  assert_holds(eval("return { x = { 1, a = 2 } }"), "mixes names with list elements");
  assert_holds(eval("return { x = { 1, nil, 3 } }"), "mixes names with list elements");
}

static void secrets_are_references(void **state) {
  (void)state;
  assert_string_equal(eval("return { k = secret.file '/run/k' }"),
                      "{\"ok\":{\"k\":{\"$secret\":{\"file\":\"/run/k\"}}}}");
  assert_string_equal(eval("return { k = secret.command { 'pass', 'show' } }"),
                      "{\"ok\":{\"k\":{\"$secret\":{\"command\":[\"pass\",\"show\"]}}}}");
  assert_holds(eval("return { k = secret.env(1) }"), "string expected");
}

static void errors_name_their_line(void **state) {
  (void)state;
  assert_holds(eval("return {\n  a = 1\n  b = 2\n}"), "\"line\":3");
  assert_holds(eval("local t\nlocal x = 1\nreturn { a = t.x }"), "\"line\":3");
  assert_holds(eval("#!/bin/moonport\nerror('no')"), "\"line\":2");
  assert_holds(eval("\n\nerror {}"), "\"line\":3");
  assert_holds(eval("local a = 1"), "returns a table, not nil");
}

static void what_acts_or_loads_code_is_absent(void **state) {
  (void)state;
  const char *names[] = {"io",      "os",    "require", "load",           "loadfile", "dofile",
                         "package", "debug", "print",   "collectgarbage", "warn",     "coroutine"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char text[64];
    snprintf(text, sizeof text, "return { v = type(%s) }", names[i]);
    assert_string_equal(eval(text), "{\"ok\":{\"v\":\"nil\"}}");
  }
  assert_string_equal(eval("return { v = type(string.dump) }"), "{\"ok\":{\"v\":\"nil\"}}");
  assert_string_equal(eval("return { v = type((''):len()) }"), "{\"ok\":{\"v\":\"number\"}}");
}

static void bytecode_is_refused(void **state) {
  (void)state;
  assert_holds(eval("\x1bLua"), "attempt to load a binary chunk");
}

static void what_is_not_plain_data_is_refused_by_name(void **state) {
  (void)state;
  assert_holds(eval("return { ready = { http = print or function() end } }"),
               "\"path\":\"ready.http\"");
  assert_holds(eval("return { a = function() end }"), "a function is not plain data");
  assert_holds(eval("local t = {} t.t = t return t"), "holds itself");
  assert_holds(eval("return { env = { ['A B'] = '\\xff' } }"), "env[\\\"A B\\\"]");
}

static void hostile_text_arrives_unchanged(void **state) {
  (void)state;
  assert_string_equal(eval("return { a = '\"\\n$(x);\\0\\\\' }"),
                      "{\"ok\":{\"a\":\"\\\"\\n$(x);\\u0000\\\\\"}}");
  const char source[] = "return { a = 'x\0y' }";
  assert_string_equal(eval_bytes(source, sizeof source - 1), "{\"ok\":{\"a\":\"x\\u0000y\"}}");
}

static void a_greedy_manifest_is_an_error_not_a_crash(void **state) {
  (void)state;
  assert_holds(eval("return { a = ('x'):rep(1 << 30) }"), "MiB of memory");
  assert_holds(eval("local t = {} for i = 1, 1e9 do t[i] = i end return t"), "MiB of memory");
  assert_holds(eval("local t = {} for i = 1, 40 do t = { t, t } end return t"), "too large");
  assert_holds(eval("local function f() return f() + 1 end return { f() }"), "\"error\"");
}

static int release(void **state) {
  (void)state;
  mp_buf_free(&json);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_keep_their_type),
      cmocka_unit_test(lists_and_tables_are_told_apart),
      cmocka_unit_test(secrets_are_references),
      cmocka_unit_test(errors_name_their_line),
      cmocka_unit_test(what_acts_or_loads_code_is_absent),
      cmocka_unit_test(bytecode_is_refused),
      cmocka_unit_test(what_is_not_plain_data_is_refused_by_name),
      cmocka_unit_test(hostile_text_arrives_unchanged),
      cmocka_unit_test(a_greedy_manifest_is_an_error_not_a_crash),
  };
  return cmocka_run_group_tests(tests, NULL, release);
}
