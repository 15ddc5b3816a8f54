#include "unit.h"

#include "core/shim/output.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

typedef struct {
  mp_shim_loop loop;
  mp_shim_output output;
  int reader;
} fixture;

static int set_up(void **state) {
  static fixture f;
  mp_shim_error err;
  int ends[2];
  f = (fixture){.output = {.source.fd = -1}};
  assert_int_equal(mp_shim_loop_open(&f.loop, &err), 0);
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  f.output.loop = &f.loop;
  f.reader = ends[0];
  fcntl(f.reader, F_SETFL, O_NONBLOCK);
  mp_shim_output_open(&f.output, ends[1]);
  *state = &f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  mp_shim_output_close(&f->output);
  mp_shim_loop_close(&f->loop);
  close(f->reader);
  return 0;
}

static void add(fixture *f, const char *text, bool part) {
  mp_shim_output_add(&f->output, text, strlen(text), part);
  mp_shim_output_flush(&f->output);
}

/* All that can be had, as text that the next call overwrites. */
static char *take(fixture *f) {
  static char text[1024 * 1024];
  size_t used = 0;
  ssize_t got;
  while ((got = read(f->reader, text + used, sizeof text - 1 - used)) > 0) {
    used += (size_t)got;
    mp_shim_output_flush(&f->output);
  }
  text[used] = '\0';
  return text;
}

static void lines_come_as_they_were(void **state) {
  fixture *f = *state;
  add(f, "one", false);
  add(f, "", false);
  add(f, "first part, ", true);
  add(f, "second part", false);
  assert_string_equal(take(f), "one\n\nfirst part, second part\n");
}

static void what_nobody_takes_is_dropped_counted_and_told_where_it_is_missing(void **state) {
  fixture *f = *state;
  char line[128], note[128];
  int added = 0;
  /* The pipe, and what is kept. */
  while (f->output.dropped_lines < 100) {
    snprintf(line, sizeof line, "line %060d", added++);
    add(f, line, false);
  }
  snprintf(note, sizeof note, "\nmoonport-shim: %d bytes of output (100 lines) are missing here",
           (int)(100 * (strlen(line) + 1)));
  assert_int_equal(f->output.dropped_bytes, 100 * (strlen(line) + 1));
  char *first = take(f);
  int seen = 0;
  for (char *at = first; (at = strchr(at, '\n')) != NULL; at++)
    seen++;
  assert_int_equal(seen, added - 100);
  add(f, "afterwards", false);
  char *rest = take(f);
  assert_ptr_equal(strstr(rest, note + 1), rest);
  assert_string_equal(strchr(rest, '\n'), "\nafterwards\n");
}

static void nobody_there_at_all_costs_nothing(void **state) {
  fixture *f = *state;
  mp_shim_output none = {.loop = &f->loop, .source.fd = -1};
  mp_shim_output_add(&none, "x", 1, false);
  mp_shim_output_flush(&none);
  assert_int_equal(none.dropped_bytes, 0);
  assert_null(none.kept);
}

static void only_the_first_place_counts(void **state) {
  fixture *f = *state;
  int ends[2], before = f->output.source.fd;
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  mp_shim_output_open(&f->output, ends[1]);
  assert_int_equal(f->output.source.fd, before);
  char byte;
  assert_int_equal(read(ends[0], &byte, 1), 0); /* closed */
  close(ends[0]);
}

int main(void) {
#define output_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      output_test(lines_come_as_they_were),
      output_test(what_nobody_takes_is_dropped_counted_and_told_where_it_is_missing),
      output_test(nobody_there_at_all_costs_nothing),
      output_test(only_the_first_place_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
