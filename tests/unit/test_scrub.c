#include "unit.h"

#include "core/encode.h"
#include "core/mem.h"
#include "core/scrub.h"

static int forget(void **state) {
  (void)state;
  mp_scrub_reset();
  return 0;
}

static void add(const char *secret) {
  mp_scrub_add(secret, strlen(secret));
}

static void assert_scrubbed(const char *text, const char *expected) {
  mp_auto_free char *out = mp_scrub_text(text);
  assert_string_equal(out, expected);
}

static void nothing_is_needed_before_a_secret_was_revealed(void **state) {
  (void)state;
  assert_false(mp_scrub_needed());
  assert_scrubbed("hunter2", "hunter2");
  add("  \n");
  assert_false(mp_scrub_needed());
}

static void every_occurrence_is_replaced(void **state) {
  (void)state;
  add("hunter2");
  assert_true(mp_scrub_needed());
  assert_scrubbed("hunter2", "***");
  assert_scrubbed("pw=hunter2, again hunter2hunter2.", "pw=***, again ******.");
  assert_scrubbed("hunter3 hunter", "hunter3 hunter");
}

static void the_longest_wins_and_overlaps_leave_no_rest(void **state) {
  (void)state;
  add("abcd");
  add("abcdefgh");
  add("ghijkl");
  assert_scrubbed("abcdefgh", "***");
  assert_scrubbed("x abcdefghijkl y", "x *** y");
  assert_scrubbed("abcde", "***e");
}

static void encoded_forms_are_found(void **state) {
  (void)state;
  add("p\"w d/\n1");
  assert_scrubbed("{\"a\":\"p\\\"w d/\\n1\"}", "{\"a\":\"***\"}");
  assert_scrubbed("?k=p%22w%20d%2F%0A1&x", "?k=***&x");
  assert_scrubbed("?k=p%22w%20d%2f%0a1&x", "?k=***&x");
  assert_scrubbed("?k=p%22w+d%2F%0A1&x", "?k=***&x");
  assert_scrubbed("70227720642f0a31", "***");
}

static void base64_of_a_text_that_holds_the_secret_gives_it_away_nowhere(void **state) {
  (void)state;
  const char *secret = "correct horse battery";
  add(secret);
  for (int lead = 0; lead < 4; lead++) {
    mp_auto_free char *pair = mp_sprintf("%.*s:%s tail", lead, "user", secret);
    mp_auto_buf mp_buf text = MP_BUF_INIT;
    mp_base64_encode(&text, pair, strlen(pair), lead % 2);
    mp_auto_free char *out = mp_scrub_text(text.data);
    assert_non_null(strstr(out, "***"));
    assert_true(strlen(out) < text.len - 20);
  }
}

static void a_short_secret_is_replaced_only_as_a_whole_token(void **state) {
  (void)state;
  add("ab1");
  assert_scrubbed("ab1", "***");
  assert_scrubbed("key=ab1;", "key=***;");
  assert_scrubbed("cab1 ab12 ab1_", "cab1 ab12 ab1_");
}

static void each_line_of_a_key_file_is_hidden(void **state) {
  (void)state;
  add("-----BEGIN KEY-----\nMIIEvQIBADANBg\nshort\n-----END KEY-----\n");
  assert_scrubbed("read MIIEvQIBADANBg from it", "read *** from it");
  assert_scrubbed("short", "short");
}

static void the_final_newline_of_a_secret_file_does_not_count(void **state) {
  (void)state;
  add("token-1234\n");
  assert_scrubbed("Bearer token-1234", "Bearer ***");
}

static void bytes_of_any_kind_pass_and_buffers_change_in_place(void **state) {
  (void)state;
  const char secret[] = {'s', 0, 'e', 'c', 'r'};
  mp_auto_buf mp_buf buf = MP_BUF_INIT;
  mp_scrub_add(secret, sizeof secret);
  mp_buf_append(&buf, "\0s\0ecr\0", 7);
  mp_scrub(&buf);
  assert_int_equal(buf.len, 5);
  assert_memory_equal(buf.data, "\0***\0", 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(nothing_is_needed_before_a_secret_was_revealed, forget),
      cmocka_unit_test_teardown(every_occurrence_is_replaced, forget),
      cmocka_unit_test_teardown(the_longest_wins_and_overlaps_leave_no_rest, forget),
      cmocka_unit_test_teardown(encoded_forms_are_found, forget),
      cmocka_unit_test_teardown(base64_of_a_text_that_holds_the_secret_gives_it_away_nowhere,
                                forget),
      cmocka_unit_test_teardown(a_short_secret_is_replaced_only_as_a_whole_token, forget),
      cmocka_unit_test_teardown(each_line_of_a_key_file_is_hidden, forget),
      cmocka_unit_test_teardown(the_final_newline_of_a_secret_file_does_not_count, forget),
      cmocka_unit_test_teardown(bytes_of_any_kind_pass_and_buffers_change_in_place, forget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
