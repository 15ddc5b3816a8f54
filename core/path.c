#include "path.h"

#include "buf.h"
#include "mem.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *mp_path_join(const char *head, const char *tail) {
  if (*tail == '/' || *head == '\0')
    return mp_strdup(tail);
  if (*tail == '\0')
    return mp_strdup(head);
  size_t len = strlen(head);
  return mp_sprintf("%s%s%s", head, head[len - 1] == '/' ? "" : "/", tail);
}

/* The length of `path` without its final slashes, but for a leading one. */
static size_t trimmed(const char *path) {
  size_t len = strlen(path);
  while (len > 1 && path[len - 1] == '/')
    len--;
  return len;
}

/* Where the last name of path[0..len) begins. */
static size_t last_name(const char *path, size_t len) {
  while (len > 0 && path[len - 1] != '/')
    len--;
  return len;
}

char *mp_path_dirname(const char *path) {
  size_t end = last_name(path, trimmed(path));
  if (end == 0)
    return mp_strdup(".");
  while (end > 1 && path[end - 1] == '/')
    end--;
  return mp_memdup(path, end);
}

char *mp_path_basename(const char *path) {
  size_t len = trimmed(path);
  if (len == 1 && *path == '/')
    return mp_strdup("/");
  size_t start = last_name(path, len);
  return mp_memdup(path + start, len - start);
}

char *mp_path_extension(const char *path) {
  mp_auto_free char *name = mp_path_basename(path);
  size_t dots = strspn(name, ".");
  const char *dot = strrchr(name + dots, '.');
  return mp_strdup(dot ? dot : "");
}

/* Drops the last name of what is built; false where there is none that could go. */
static bool drop_last(mp_buf *out, size_t root) {
  size_t start = last_name(out->data, out->len);
  if (out->len == root || strcmp(out->data + start, "..") == 0)
    return false;
  out->len = start > root ? start - 1 : start;
  out->data[out->len] = '\0';
  return true;
}

char *mp_path_normalize(const char *path) {
  mp_buf out = MP_BUF_INIT;
  size_t root = *path == '/';
  mp_buf_append(&out, "/", root);
  while (*path) {
    path += strspn(path, "/");
    size_t len = strcspn(path, "/");
    bool up = len == 2 && memcmp(path, "..", 2) == 0;
    bool skip = len == 0 || (len == 1 && *path == '.') || (up && (drop_last(&out, root) || root));
    if (!skip) {
      if (out.len > root)
        mp_buf_puts(&out, "/");
      mp_buf_append(&out, path, len);
    }
    path += len;
  }
  if (out.len == 0)
    mp_buf_puts(&out, ".");
  return out.data;
}

char *mp_path_absolute(const char *path, mp_error *err) {
  if (*path == '/')
    return mp_path_normalize(path);
  mp_auto_free char *cwd = getcwd(NULL, 0);
  if (cwd == NULL) {
    mp_error_errno(err, "fs", errno, "could not find the working directory");
    return NULL;
  }
  mp_auto_free char *joined = mp_path_join(cwd, path);
  return mp_path_normalize(joined);
}

char *mp_path_relative(const char *path, const char *from) {
  mp_auto_free char *to = mp_path_normalize(path), *base = mp_path_normalize(from);
  const char *a = to + 1, *b = base + 1;
  for (;;) {
    size_t len = strcspn(a, "/");
    if (len == 0 || len != strcspn(b, "/") || memcmp(a, b, len) != 0)
      break;
    a += len + (a[len] == '/');
    b += len + (b[len] == '/');
  }
  mp_buf out = MP_BUF_INIT;
  while (*b) {
    mp_buf_puts(&out, out.len ? "/.." : "..");
    b += strcspn(b, "/");
    b += *b == '/';
  }
  if (*a && out.len)
    mp_buf_puts(&out, "/");
  mp_buf_puts(&out, *a || out.len ? a : ".");
  return out.data;
}

static char *home_of(const char *name, mp_error *err) {
  const char *home = *name ? NULL : getenv("HOME");
  if (home && *home)
    return mp_strdup(home);
  char space[4096];
  struct passwd entry, *found = NULL;
  if (*name)
    getpwnam_r(name, &entry, space, sizeof space, &found);
  else
    getpwuid_r(getuid(), &entry, space, sizeof space, &found);
  if (found)
    return mp_strdup(entry.pw_dir);
  mp_error_set(err, "fs", MP_INVALID, "no account `%s` whose home `~%s` could be", name, name);
  return NULL;
}

char *mp_path_expand(const char *path, mp_error *err) {
  if (*path != '~')
    return mp_strdup(path);
  size_t len = strcspn(path, "/");
  mp_auto_free char *name = mp_memdup(path + 1, len - 1);
  mp_auto_free char *home = home_of(name, err);
  return home ? mp_sprintf("%s%s", home, path + len) : NULL;
}
