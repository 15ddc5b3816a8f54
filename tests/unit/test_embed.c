/* The files that travel inside the binary: found by name, whole, byte for byte. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include <lauxlib.h>

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

static int append(lua_State *L, const void *bytes, size_t len, void *data) {
  (void)L;
  mp_buf_append(data, bytes, len);
  return 0;
}

/* So errors and tracebacks tell files, lines and names as if the text had been loaded. */
static void the_code_of_each_file_is_all_that_its_text_compiles_to(void **state) {
  (void)state;
  if (strcmp(mp_embedded_lua_ident, lua_ident) != 0)
    skip();
  lua_State *L = luaL_newstate();
  for (size_t i = 0; i < mp_embedded_count; i++) {
    const mp_embedded_file *file = &mp_embedded_files[i];
    lua_pushfstring(L, "@%s", file->name);
    assert_int_equal(
        luaL_loadbufferx(L, (const char *)file->data, file->len, lua_tostring(L, -1), "t"), LUA_OK);
    mp_auto_buf mp_buf code = MP_BUF_INIT;
    lua_dump(L, append, &code, 0);
    assert_int_equal(file->code_len, code.len);
    assert_memory_equal(file->code, code.data, code.len);
    lua_settop(L, 0);
  }
  lua_close(L);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_are_sorted_and_unique),
      cmocka_unit_test(a_library_from_the_system_is_embedded_byte_for_byte),
      cmocka_unit_test(the_code_of_each_file_is_all_that_its_text_compiles_to),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
