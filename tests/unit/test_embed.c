/* The files that travel inside the binary: found by name, whole, byte for byte. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "core/buf.h"
#include "lua/embed.h"

static const mp_embedded_file *find(const char *name) {
  for (size_t i = 0; i < mp_embedded_count; i++)
    if (strcmp(mp_embedded_files[i].name, name) == 0)
      return &mp_embedded_files[i];
  return NULL;
}

static void names_are_sorted_and_unique(void **state) {
  (void)state;
  assert_true(mp_embedded_count > 0);
  for (size_t i = 1; i < mp_embedded_count; i++)
    assert_true(strcmp(mp_embedded_files[i - 1].name, mp_embedded_files[i].name) < 0);
}

static void a_library_from_the_system_is_embedded_byte_for_byte(void **state) {
  (void)state;
  const mp_embedded_file *file = find("argparse.lua");
  assert_non_null(file);

  mp_auto_buf mp_buf disk = MP_BUF_INIT;
  FILE *stream = fopen(ARGPARSE_LUA, "rb");
  assert_non_null(stream);
  size_t got;
  do {
    got = fread(mp_buf_reserve(&disk, 65536), 1, 65536, stream);
    disk.len += got;
  } while (got > 0);
  fclose(stream);

  assert_int_equal(file->len, disk.len);
  assert_memory_equal(file->data, disk.data, disk.len);
  assert_int_equal(file->data[file->len], 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_are_sorted_and_unique),
      cmocka_unit_test(a_library_from_the_system_is_embedded_byte_for_byte),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
