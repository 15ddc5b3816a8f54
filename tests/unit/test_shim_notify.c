#include "unit.h"

#include "core/shim/notify.h"

#include <stdio.h>

static mp_shim_notice parse(const char *text) {
  char copy[MP_SHIM_NOTICE_MAX + 1];
  mp_shim_notice notice;
  snprintf(copy, sizeof copy, "%s", text);
  mp_shim_notice_parse(copy, &notice);
  return notice;
}

static void words_that_mean_something_are_found_among_others(void **state) {
  (void)state;
  mp_shim_notice notice = parse("WATCHDOG=1\nREADY=1\nMAINPID=1\nSTATUS=50% done = half\n");
  assert_true(notice.ready && notice.has_text && !notice.stopping);
  assert_string_equal(notice.text, "50% done = half");
  notice = parse("STOPPING=1");
  assert_true(notice.stopping && !notice.ready && !notice.has_text);
}

static void what_only_looks_like_one_is_none(void **state) {
  (void)state;
  static const char *const texts[] = {"",         "READY",          "READY=0",    "READY=11",
                                      " READY=1", "X_READY=1",      "ready=1",    "STATUS",
                                      "XSTATUS=", "STOPPING=false", "\n\n=\n==1", "READY=1 "};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    mp_shim_notice notice = parse(texts[i]);
    assert_false(notice.ready || notice.stopping || notice.has_text);
  }
}

static void an_empty_status_takes_the_last_one_back(void **state) {
  (void)state;
  mp_shim_notice notice = parse("STATUS=");
  assert_true(notice.has_text);
  assert_string_equal(notice.text, "");
}

static void a_status_is_one_line_without_control_characters(void **state) {
  (void)state;
  assert_string_equal(parse("STATUS=a\x1b[31mb\r\x7f"
                            "c")
                          .text,
                      "a [31mb  c");
}

static void a_long_status_is_cut_between_two_characters(void **state) {
  (void)state;
  char text[MP_SHIM_NOTICE_MAX] = "STATUS=";
  for (size_t shift = 0; shift < 3; shift++) {
    memset(text + 7, 'x', shift);
    for (size_t at = 7 + shift; at + 3 < 7 + 300; at += 3)
      memcpy(text + at, "\xe2\x82\xac", 4);
    mp_shim_notice notice = parse(text);
    size_t len = strlen(notice.text);
    assert_in_range(len, MP_SHIM_TELLS_CAP - 3, MP_SHIM_TELLS_CAP - 1);
    assert_int_equal((len - shift) % 3, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(words_that_mean_something_are_found_among_others),
      cmocka_unit_test(what_only_looks_like_one_is_none),
      cmocka_unit_test(an_empty_status_takes_the_last_one_back),
      cmocka_unit_test(a_status_is_one_line_without_control_characters),
      cmocka_unit_test(a_long_status_is_cut_between_two_characters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
