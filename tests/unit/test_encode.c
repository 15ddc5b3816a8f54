#include "unit.h"

#include "core/encode.h"
#include "core/mem.h"

static void assert_base64(const char *plain, const char *text, bool url) {
  mp_auto_buf mp_buf out = MP_BUF_INIT, back = MP_BUF_INIT;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_base64_encode(&out, plain, strlen(plain), url);
  assert_string_equal(out.data, text);
  assert_int_equal(mp_base64_decode(&back, text, strlen(text), &err), 0);
  assert_string_equal(back.data, plain);
}

static void base64_follows_the_vectors_of_its_standard(void **state) {
  (void)state;
  assert_base64("f", "Zg==", false);
  assert_base64("fo", "Zm8=", false);
  assert_base64("foo", "Zm9v", false);
  assert_base64("foob", "Zm9vYg==", false);
  assert_base64("fooba", "Zm9vYmE=", false);
  assert_base64("foobar", "Zm9vYmFy", false);
  assert_base64("\xff\xfe\xfb", "//77", false);
  assert_base64("\xff\xfe\xfb", "__77", true);
  assert_base64("f", "Zg", true);
}

static void wrong_base64_is_refused_and_leaves_the_output_alone(void **state) {
  (void)state;
  const char *wrong[] = {"A", "Zg=", "Zg===", "Zm9v=", "Zh==", "Zg==Zg==", "Zm9v!", "===="};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    mp_auto_buf mp_buf out = MP_BUF_INIT;
    mp_auto_error mp_error err = MP_ERROR_INIT;
    mp_buf_puts(&out, "kept");
    assert_int_equal(mp_base64_decode(&out, wrong[i], strlen(wrong[i]), &err), -1);
    assert_true(mp_error_is(&err, MP_INVALID));
    assert_string_equal(out.data, "kept");
  }
}

static void base64_may_be_wrapped_as_in_pem(void **state) {
  (void)state;
  mp_auto_buf mp_buf out = MP_BUF_INIT;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_base64_decode(&out, "Zm9v\r\nYmFy\n", 11, &err), 0);
  assert_string_equal(out.data, "foobar");
}

static void hexadecimal_round_trips_and_refuses_the_rest(void **state) {
  (void)state;
  mp_auto_buf mp_buf out = MP_BUF_INIT, back = MP_BUF_INIT;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_hex_encode(&out, "\x00\x9f\xff", 3);
  assert_string_equal(out.data, "009fff");
  assert_int_equal(mp_hex_decode(&back, "009FfF", 6, &err), 0);
  assert_memory_equal(back.data, "\x00\x9f\xff", 3);
  assert_int_equal(mp_hex_decode(&back, "0g", 2, &err), -1);
  assert_int_equal(mp_hex_decode(&back, "0", 1, &err), -1);
  assert_int_equal(back.len, 3);
}

static void json_escapes_what_json_forbids_and_nothing_else(void **state) {
  (void)state;
  mp_auto_buf mp_buf out = MP_BUF_INIT;
  mp_json_escape(&out, "a\"\\/\b\t\n\v\f\r\x1f\x7f\xc3\xa9", 14);
  assert_string_equal(out.data, "a\\\"\\\\/\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\xc3\xa9");
}

static void utf8_is_judged_as_its_standard_says(void **state) {
  (void)state;
  const char *good[] = {"",
                        "plain ascii text",
                        "\xc2\x80",
                        "\xe0\xa0\x80",
                        "\xed\x9f\xbf",
                        "\xf0\x90\x80\x80",
                        "\xf4\x8f\xbf\xbf"};
  const char *wrong[] = {"\x80",         "\xc0\xaf",         "\xe0\x9f\xbf",
                         "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                         "\xff",         "\xe2\x82"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    assert_true(mp_utf8_valid(good[i], strlen(good[i]), NULL));
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    mp_auto_free char *text = mp_sprintf("0123456789%s", wrong[i]);
    size_t bad = 0;
    assert_false(mp_utf8_valid(text, strlen(text), &bad));
    assert_int_equal(bad, 10);
  }
}

static void a_uuid_has_its_version_and_variant(void **state) {
  (void)state;
  char one[MP_UUID_SIZE], other[MP_UUID_SIZE];
  mp_uuid4(one);
  mp_uuid4(other);
  assert_int_equal(strlen(one), 36);
  assert_int_equal(one[14], '4');
  assert_non_null(strchr("89ab", one[19]));
  assert_string_not_equal(one, other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(base64_follows_the_vectors_of_its_standard),
      cmocka_unit_test(wrong_base64_is_refused_and_leaves_the_output_alone),
      cmocka_unit_test(base64_may_be_wrapped_as_in_pem),
      cmocka_unit_test(hexadecimal_round_trips_and_refuses_the_rest),
      cmocka_unit_test(json_escapes_what_json_forbids_and_nothing_else),
      cmocka_unit_test(utf8_is_judged_as_its_standard_says),
      cmocka_unit_test(a_uuid_has_its_version_and_variant),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
