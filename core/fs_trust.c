/* Whether others could change a file, or what its path leads to. */
#include "fs_internal.h"
#include "mem.h"
#include "path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINKS_MOST 40 /* as the kernel's own limit */

static int refuse(mp_error *err, const char *path, const char *why, const char *remedy) {
  mp_error_set(err, "fs", MP_FS_UNTRUSTED, "`%s` %s", path, why);
  return mp_error_hint(err, "%s `%s`, or use another place", remedy, path);
}

/* `sticky`: the directory around it lets only owners rename and remove. */
static int check_one(const char *path, const struct stat *st, mp_error *err) {
  if (st->st_uid != 0 && st->st_uid != geteuid()) {
    mp_auto_free char *why = mp_sprintf("belongs to another user (uid %u)", st->st_uid);
    return refuse(err, path, why, "change the owner of");
  }
  if (S_ISLNK(st->st_mode))
    return 0; /* its mode means nothing */
  bool shared_place = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX);
  if ((st->st_mode & S_IWOTH) && !shared_place)
    return refuse(err, path, "can be written to by everyone", "chmod o-w");
  if ((st->st_mode & S_IWGRP) && st->st_gid != 0 && !shared_place) {
    mp_auto_free char *why = mp_sprintf("can be written to by its group (gid %u)", st->st_gid);
    return refuse(err, path, why, "chmod g-w");
  }
  return 0;
}

static int check_path(const char *path, int *links, mp_error *err);

static int check_link(const char *path, int *links, mp_error *err) {
  if (++*links > LINKS_MOST)
    return mp_error_errno(err, "fs", ELOOP, "could not resolve `%s`", path);
  mp_auto_free char *target = mp_fs_readlink(path, err);
  if (target == NULL)
    return -1;
  mp_auto_free char *parent = mp_path_dirname(path);
  mp_auto_free char *real_parent = mp_fs_realpath(parent, err);
  if (real_parent == NULL)
    return -1;
  mp_auto_free char *joined = mp_path_join(real_parent, target);
  return check_path(joined, links, err);
}

/* From the root down, so that the first one named is the one to mend. `path` is absolute. */
static int check_path(const char *path, int *links, mp_error *err) {
  size_t end = 1;
  for (;;) {
    mp_auto_free char *prefix = mp_memdup(path, end);
    struct stat st;
    if (lstat(prefix, &st) < 0)
      return mp_error_errno(err, "fs", errno, "could not look at `%s`", prefix);
    if (check_one(prefix, &st, err) < 0)
      return -1;
    if (S_ISLNK(st.st_mode) && check_link(prefix, links, err) < 0)
      return -1;
    size_t next = end + strspn(path + end, "/");
    if (path[next] == '\0')
      return 0;
    end = next + strcspn(path + next, "/");
  }
}

int mp_fs_trusted(const char *path, mp_error *err) {
  int links = 0;
  mp_auto_free char *cwd = *path == '/' ? NULL : mp_fs_realpath(".", err);
  if (*path != '/' && cwd == NULL)
    return -1;
  mp_auto_free char *absolute = mp_path_join(cwd ? cwd : "/", path);
  return check_path(absolute, &links, err);
}
