/* A directory of its own for each test of files, which is its working directory. */
#ifndef MP_TESTS_FS_FIXTURE_H
#define MP_TESTS_FS_FIXTURE_H

#include "unit.h"

#include "core/fs.h"
#include "core/mem.h"

#include <sys/stat.h>
#include <unistd.h>

static inline int set_up(void **state) {
  char *dir = mp_strdup("/tmp/mp-fs-XXXXXX");
  assert_non_null(mkdtemp(dir));
  assert_int_equal(chdir(dir), 0);
  umask(022);
  *state = dir;
  return 0;
}

static inline int tear_down(void **state) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  assert_int_equal(chdir("/"), 0);
  assert_int_equal(mp_fs_remove_tree(*state, false, NULL, &err), 0);
  free(*state);
  return 0;
}

static inline void put(const char *path, const char *text) {
  mp_auto_error mp_error err = MP_ERROR_INIT;
  assert_int_equal(mp_fs_write(path, text, strlen(text), NULL, &err), 0);
}

static inline struct stat stat_of(const char *path) {
  struct stat st;
  assert_int_equal(lstat(path, &st), 0);
  return st;
}

#endif
