#include "unit.h"

#include "core/shim/clock.h"
#include "core/shim/json.h"
#include "core/shim/state.h"

#include <stdio.h>
#include <yajl/yajl_tree.h>

/* Parses what the shim wrote with somebody else's parser, which checks UTF-8 too. */
static yajl_val parse_json(const char *text) {
  char message[256];
  yajl_val tree = yajl_tree_parse(text, message, sizeof message);
  if (tree == NULL)
    fail_msg("%s: %s", message, text);
  return tree;
}

static void any_string_becomes_valid_json(void **state) {
  (void)state;
  /* Every pair of bytes, so also every wrong beginning of a sequence. */
  for (int a = 1; a < 256; a++) {
    for (int b = 0; b < 256; b++) {
      char raw[] = {(char)a, (char)b, 0}, text[64];
      mp_shim_json json;
      mp_shim_json_init(&json, text, sizeof text);
      mp_shim_json_open(&json, NULL);
      mp_shim_json_string(&json, "s", raw);
      mp_shim_json_close(&json);
      assert_false(json.overflow);
      yajl_tree_free(parse_json(text));
    }
  }
}

static void well_formed_text_is_kept(void **state) {
  (void)state;
  static const char text[] = "a \"b\" \\ \t \xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x99";
  char document[128];
  mp_shim_json json;
  mp_shim_json_init(&json, document, sizeof document);
  mp_shim_json_open(&json, NULL);
  mp_shim_json_string(&json, "s", text);
  mp_shim_json_close(&json);
  yajl_val tree = parse_json(document);
  assert_string_equal(YAJL_GET_STRING(tree->u.object.values[0]), text);
  yajl_tree_free(tree);
}

static void what_does_not_fit_is_told_and_not_written_past(void **state) {
  (void)state;
  for (size_t cap = 1; cap < 40; cap++) {
    char *text = malloc(cap);
    mp_shim_json json;
    mp_shim_json_init(&json, text, cap);
    mp_shim_json_open(&json, NULL);
    mp_shim_json_string(&json, "key", "a long enough value here \x01\x02");
    mp_shim_json_close(&json);
    assert_true(json.overflow);
    assert_true(strlen(text) < cap);
    free(text);
  }
}

static void the_longest_record_fits(void **state) {
  (void)state;
  char name[129], text[MP_SHIM_STATE_MAX];
  memset(name, 0xff, 128);
  name[128] = '\0';
  mp_shim_state record = {
      .name = name,
      .id = name,
      .end = "start-failed",
      .pid = 2147483647,
      .pid_start_time = ~0ULL >> 1,
      .shim_pid = 2147483647,
      .shim_start_time = ~0ULL >> 1,
      .restarts = UINT64_MAX >> 1,
      .started_at = {.tv_sec = 1},
      .changed_at = {.tv_sec = 1},
      .next_start_at = {.tv_sec = 1},
      .has_exit = true,
      .exit = {.code = -1, .signal = 31, .oom = 1, .has_peak = true, .peak_memory = 1ULL << 62},
      .has_error = true,
      .has_notify = true,
  };
  memset(record.tells, 0xff, sizeof record.tells - 1);
  memset(record.error.message, 0xff, sizeof record.error.message - 1);
  memset(record.error.code, 0xff, sizeof record.error.code - 1);
  size_t len = mp_shim_state_format(&record, text);
  assert_true(len < MP_SHIM_STATE_MAX - 1);
  assert_int_equal(text[len - 1], '}');
  yajl_tree_free(parse_json(text));
}

static void timestamps_are_rfc_3339_with_nanoseconds(void **state) {
  (void)state;
  char text[MP_SHIM_TIMESTAMP_LEN + 1];
  mp_shim_timestamp((struct timespec){.tv_sec = 1475713029, .tv_nsec = 669794202}, text);
  assert_string_equal(text, "2016-10-06T00:17:09.669794202Z");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_string_becomes_valid_json),
      cmocka_unit_test(well_formed_text_is_kept),
      cmocka_unit_test(what_does_not_fit_is_told_and_not_written_past),
      cmocka_unit_test(the_longest_record_fits),
      cmocka_unit_test(timestamps_are_rfc_3339_with_nanoseconds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
