/* Downloads from a real nginx, and from servers that break off or answer something else. */
#include "http_fixture.h"

#include "core/hash.h"
#include "core/http_download.h"

#include <sys/stat.h>
#include <unistd.h>

#define BIG (8 << 20)

typedef struct {
  outcome outcome;
  uint64_t size, resumed, done;
  int64_t total;
  int progress;
  mp_op *op;
  uint64_t cancel_at; /* bytes; 0: never */
} course;

static char target[128];

static const char *beside(const char *suffix) {
  static char path[160];
  snprintf(path, sizeof path, "%s%s", target, suffix);
  return path;
}

static bool exists(const char *path) {
  return access(path, F_OK) == 0;
}

static int open_target(void **state) {
  snprintf(target, sizeof target, "%s/target", nginx.dir);
  return open_loop(state);
}

static int close_target(void **state) {
  unlink(target);
  unlink(beside(".part"));
  unlink(beside(".part.info"));
  return close_loop(state);
}

#define download_test(f) cmocka_unit_test_setup_teardown(f, open_target, close_target)

static void downloaded(void *data, const mp_http_download_result *result, const mp_error *err) {
  course *course = data;
  assert_true((result == NULL) != (err == NULL));
  if (result) {
    course->size = result->size;
    course->resumed = result->resumed;
  }
  note(&course->outcome, err);
}

static void progressed(void *data, uint64_t done, int64_t total) {
  course *course = data;
  assert_true(done >= course->done);
  course->done = done;
  course->total = total;
  course->progress++;
  if (course->cancel_at > 0 && done >= course->cancel_at)
    mp_op_cancel(course->op);
}

static mp_http_download_options from(const char *url) {
  mp_http_download_options options = {.request = MP_HTTP_OPTIONS_INIT, .path = target};
  options.request.url = url;
  options.on_progress = progressed;
  return options;
}

static void run(mp_loop *loop, const mp_http_download_options *options, course *course) {
  mp_error err = MP_ERROR_INIT;
  course->outcome.calls = course->progress = 0;
  course->done = course->resumed = 0;
  if (mp_http_download(loop, options, downloaded, course, &course->op, &err) < 0)
    fail_msg("%s", err.message);
  run_until(loop, &course->outcome);
}

static void run_ok(mp_loop *loop, const mp_http_download_options *options, course *course) {
  run(loop, options, course);
  if (course->outcome.err.domain)
    fail_msg("%s: %s", course->outcome.err.code, course->outcome.err.message);
}

static void run_fails(mp_loop *loop, const mp_http_download_options *options, course *course,
                      const char *code, const char *words) {
  run(loop, options, course);
  assert_non_null(course->outcome.err.domain);
  if (strcmp(course->outcome.err.code, code) != 0)
    fail_msg("%s: %s", course->outcome.err.code, course->outcome.err.message);
  assert_contains(course->outcome.err.message, words);
  mp_error_reset(&course->outcome.err);
  assert_false(exists(target));
}

static void assert_is_big(void) {
  size_t len, expected_len;
  char *bytes = slurp(target, &len);
  char *expected = slurp(in_dir("www/big"), &expected_len);
  assert_non_null(bytes);
  assert_int_equal(len, expected_len);
  assert_memory_equal(bytes, expected, len);
  free(bytes);
  free(expected);
  assert_false(exists(beside(".part")));
  assert_false(exists(beside(".part.info")));
}

static void digest_big(mp_hash_kind kind, char hex[MP_HASH_HEX_MAX]) {
  size_t len;
  char *bytes = slurp(in_dir("www/big"), &len);
  uint8_t digest[MP_HASH_MAX];
  mp_hash_of(kind, bytes, len, digest);
  mp_hex(digest, mp_hash_size(kind), hex);
  free(bytes);
}

/* ---- whole ---------------------------------------------------------------------------------- */

static void a_file_arrives_whole_verified_and_with_progress(void **state) {
  course course = {0};
  char sha256[MP_HASH_HEX_MAX], sha512[MP_HASH_HEX_MAX];
  mp_http_download_options options = from(plain("/big"));
  digest_big(MP_HASH_SHA256, sha256);
  digest_big(MP_HASH_SHA512, sha512);
  options.sha256 = sha256;
  options.sha512 = sha512;
  run_ok(*state, &options, &course);
  assert_int_equal(course.size, BIG);
  assert_int_equal(course.resumed, 0);
  assert_true(course.progress > 1);
  assert_int_equal(course.done, BIG);
  assert_int_equal(course.total, BIG);
  assert_is_big();
}

static void an_empty_file_is_a_file(void **state) {
  course course = {0};
  mp_http_download_options options = from(plain("/empty"));
  run_ok(*state, &options, &course);
  assert_int_equal(course.size, 0);
  assert_true(exists(target));
}

static void what_was_there_is_replaced_in_one_step_or_kept(void **state) {
  course course = {0};
  FILE *file = fopen(target, "we");
  fputs("old", file);
  fclose(file);
  mp_http_download_options options = from(plain("/missing"));
  run(*state, &options, &course);
  assert_string_equal(course.outcome.err.code, "status");
  assert_contains(course.outcome.err.message, "404");
  mp_error_reset(&course.outcome.err);
  size_t len;
  char *bytes = slurp(target, &len);
  assert_string_equal(bytes, "old");
  free(bytes);
  options = from(plain("/big"));
  run_ok(*state, &options, &course);
  assert_is_big();
}

static void a_wrong_checksum_leaves_no_file(void **state) {
  course course = {0};
  mp_http_download_options options = from(plain("/big"));
  options.sha256 = "0000000000000000000000000000000000000000000000000000000000000000";
  options.resume = true;
  run_fails(*state, &options, &course, "checksum", "instead of 0000");
  assert_false(exists(beside(".part")));
  assert_false(exists(beside(".part.info")));
}

static void a_file_over_the_limit_is_refused_by_length_and_by_count(void **state) {
  course course = {0};
  mp_http_download_options options = from(plain("/big"));
  options.max_size = BIG - 1;
  run_fails(*state, &options, &course, MP_LIMIT, "8388607");
  assert_int_equal(course.done, 0);
  assert_false(exists(beside(".part")));
  options.max_size = BIG;
  run_ok(*state, &options, &course);
}

static void options_that_cannot_be_meant_are_refused(void **state) {
  mp_error err = MP_ERROR_INIT;
  mp_op *op;
  mp_http_download_options options = from(plain("/big"));
  options.sha256 = "abc";
  assert_int_equal(mp_http_download(*state, &options, downloaded, NULL, &op, &err), -1);
  assert_contains(err.message, "64 hex digits");
  options.sha256 = NULL;
  options.path = "";
  assert_int_equal(mp_http_download(*state, &options, downloaded, NULL, &op, &err), -1);
  mp_error_reset(&err);
}

static void a_place_that_cannot_be_written_is_named(void **state) {
  course course = {0};
  mp_http_download_options options = from(plain("/big"));
  options.path = "/proc/no/such/place";
  run(*state, &options, &course);
  assert_string_equal(course.outcome.err.code, "ENOENT");
  assert_contains(course.outcome.err.message, "/proc/no/such/place.part");
  mp_error_reset(&course.outcome.err);
}

/* ---- resuming ------------------------------------------------------------------------------- */

static void interrupt(mp_loop *loop, mp_http_download_options *options) {
  course course = {.cancel_at = 1 << 20};
  run_fails(loop, options, &course, MP_CANCELLED, "cancelled");
}

static void an_interrupted_download_goes_on_where_it_was(void **state) {
  course course = {0};
  char sha256[MP_HASH_HEX_MAX];
  mp_http_download_options options = from(plain("/big"));
  digest_big(MP_HASH_SHA256, sha256);
  options.resume = true;
  options.sha256 = sha256;
  interrupt(*state, &options);
  assert_true(exists(beside(".part")));
  run_ok(*state, &options, &course);
  assert_true(course.resumed >= 1 << 20);
  assert_int_equal(course.size, BIG);
  assert_is_big();
}

static void without_resume_nothing_is_left_of_a_cancelled_one(void **state) {
  mp_http_download_options options = from(plain("/big"));
  interrupt(*state, &options);
  assert_false(exists(beside(".part")));
  assert_false(exists(beside(".part.info")));
}

/* If-Range makes the server send all of it when it has another file by now. */
static void a_part_of_an_older_version_is_not_continued(void **state) {
  course course = {0};
  FILE *info;
  char line[256];
  mp_http_download_options options = from(plain("/big"));
  options.resume = true;
  interrupt(*state, &options);
  info = fopen(beside(".part.info"), "r+e");
  assert_non_null(fgets(line, sizeof line, info));
  fseek(info, 0, SEEK_CUR);
  fputs("\"another-etag\"\n", info);
  fclose(info);
  run_ok(*state, &options, &course);
  assert_int_equal(course.resumed, 0);
  assert_is_big();
}

static void a_part_of_another_url_is_not_continued(void **state) {
  course course = {0};
  mp_http_download_options options = from(plain("/big"));
  options.resume = true;
  interrupt(*state, &options);
  options.request.url = plain("/big?v=2");
  run_ok(*state, &options, &course);
  assert_int_equal(course.resumed, 0);
  assert_is_big();
}

static void without_a_validator_only_a_verified_part_is_continued(void **state) {
  course course = {0};
  char sha256[MP_HASH_HEX_MAX];
  mp_http_download_options options = from(plain("/quiet/big"));
  options.resume = true;
  interrupt(*state, &options);
  run_ok(*state, &options, &course);
  assert_int_equal(course.resumed, 0);
  unlink(target);
  interrupt(*state, &options);
  digest_big(MP_HASH_SHA256, sha256);
  options.sha256 = sha256;
  run_ok(*state, &options, &course);
  assert_true(course.resumed > 0);
  assert_is_big();
}

static void a_part_that_is_whole_already_only_has_to_be_put_in_place(void **state) {
  course course = {0};
  mp_http_download_options options = from(plain("/big"));
  options.resume = true;
  interrupt(*state, &options);
  size_t len;
  char *bytes = slurp(in_dir("www/big"), &len);
  FILE *part = fopen(beside(".part"), "we");
  fwrite(bytes, 1, len, part);
  fclose(part);
  free(bytes);
  run_ok(*state, &options, &course);
  assert_int_equal(course.resumed, BIG);
  assert_is_big();
}

/* ---- servers without manners ---------------------------------------------------------------- */

static void break_off(int fd, const char *request, void *data) {
  (void)request, (void)data;
  mp_raw_send(fd, "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\nhalf");
}

static void wrong_range(int fd, const char *request, void *data) {
  (void)data;
  if (!strstr(request, "Range: bytes=4-\r\nIf-Range: \"x\"\r\n"))
    mp_raw_send(fd, "HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n");
  mp_raw_send(fd, "HTTP/1.1 206 Partial\r\nContent-Range: bytes 2-9/10\r\n"
                  "Content-Length: 8\r\nConnection: close\r\n\r\n");
}

static void right_range(int fd, const char *request, void *data) {
  (void)request, (void)data;
  mp_raw_send(fd, "HTTP/1.1 206 Partial\r\nContent-Range: bytes 4-9/10\r\n"
                  "Content-Length: 6\r\nConnection: close\r\n\r\n and 6");
}

static void with_server(mp_loop *loop, mp_raw_handler handler, mp_http_download_options *options,
                        course *course, const char *code, const char *words) {
  mp_raw_server server;
  mp_raw_start(&server, handler, NULL);
  /* Every server has a port of its own, and the part belongs to a URL: so the host stays the same
   * and the proxy is what changes. */
  options->request.url = "http://files.test/ten";
  options->request.proxy = server.url;
  if (code)
    run_fails(loop, options, course, code, words);
  else
    run_ok(loop, options, course);
  mp_raw_stop(&server);
}

static void a_download_that_breaks_off_can_be_continued(void **state) {
  course course = {0};
  size_t len;
  mp_http_download_options options = from(NULL);
  options.resume = true;
  with_server(*state, break_off, &options, &course, "closed", "before the body");
  with_server(*state, wrong_range, &options, &course, MP_PROTOCOL, "another range");
  with_server(*state, right_range, &options, &course, NULL, NULL);
  assert_int_equal(course.resumed, 4);
  char *bytes = slurp(target, &len);
  assert_string_equal(bytes, "half and 6");
  free(bytes);
}

static void two_downloads_to_one_path_do_not_mix(void **state) {
  course first = {0}, second = {0};
  mp_error err = MP_ERROR_INIT;
  mp_http_download_options options = from(plain("/slow/big"));
  assert_int_equal(mp_http_download(*state, &options, downloaded, &first, &first.op, &err), 0);
  while (first.progress == 0)
    uv_run(&((mp_loop *)*state)->uv, UV_RUN_ONCE);
  run_fails(*state, &options, &second, "busy", "another download");
  assert_true(exists(beside(".part")));
  mp_op_cancel(first.op);
  run_until(*state, &first.outcome);
  assert_string_equal(first.outcome.err.code, MP_CANCELLED);
  mp_error_reset(&first.outcome.err);
}

static void a_download_can_be_cancelled_at_any_turn(void **state) {
  for (int turns = 0; turns < 25; turns++) {
    course course = {0};
    mp_error err = MP_ERROR_INIT;
    mp_http_download_options options = from(plain("/big"));
    options.resume = turns % 2;
    assert_int_equal(mp_http_download(*state, &options, downloaded, &course, &course.op, &err), 0);
    for (int i = 0; i < turns && course.outcome.calls == 0; i++)
      uv_run(&((mp_loop *)*state)->uv, UV_RUN_ONCE);
    if (course.outcome.calls == 0) {
      mp_op_cancel(course.op);
      run_until(*state, &course.outcome);
    }
    if (course.outcome.err.domain)
      assert_string_equal(course.outcome.err.code, MP_CANCELLED);
    assert_true((course.outcome.err.domain == NULL) == exists(target));
    mp_error_reset(&course.outcome.err);
    unlink(target);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      download_test(a_file_arrives_whole_verified_and_with_progress),
      download_test(an_empty_file_is_a_file),
      download_test(what_was_there_is_replaced_in_one_step_or_kept),
      download_test(a_wrong_checksum_leaves_no_file),
      download_test(a_file_over_the_limit_is_refused_by_length_and_by_count),
      download_test(options_that_cannot_be_meant_are_refused),
      download_test(a_place_that_cannot_be_written_is_named),
      download_test(an_interrupted_download_goes_on_where_it_was),
      download_test(without_resume_nothing_is_left_of_a_cancelled_one),
      download_test(a_part_of_an_older_version_is_not_continued),
      download_test(a_part_of_another_url_is_not_continued),
      download_test(without_a_validator_only_a_verified_part_is_continued),
      download_test(a_part_that_is_whole_already_only_has_to_be_put_in_place),
      download_test(a_download_that_breaks_off_can_be_continued),
      download_test(two_downloads_to_one_path_do_not_mix),
      download_test(a_download_can_be_cancelled_at_any_turn),
  };
  return cmocka_run_group_tests(tests, start_nginx, stop_nginx);
}
