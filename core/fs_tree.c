/* Removing a tree, whatever others do to it meanwhile. Every step goes through the descriptor of
 * the directory that it is in, so no symbolic link put in the way can lead outside. */
#include "fs_internal.h"
#include "mem.h"
#include "path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* A level holds a descriptor open. What lies deeper is moved up to the top and removed from there,
 * so that the depth of a tree is no limit. */
#define DEPTH_MOST 100

typedef struct {
  const char *path; /* as given, for messages */
  bool cross_mounts;
  const atomic_bool *stop;
  int top; /* the tree's own directory */
  dev_t device;
  uint64_t moved; /* directories moved up so far */
  mp_error *err;
} removal;

/* Opens a directory below `dir` without leaving the file system: openat2 sees bind mounts too,
 * which st_dev does not show. */
static int open_below(const removal *self, int dir, const char *name) {
  struct open_how how = {
      .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
      .resolve = RESOLVE_BENEATH | (self->cross_mounts ? 0 : RESOLVE_NO_XDEV),
  };
  int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof how);
  if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
    return fd;
  struct stat st;
  fd = openat(dir, name, (int)how.flags);
  if (fd < 0 || self->cross_mounts || (fstat(fd, &st) == 0 && st.st_dev == self->device))
    return fd;
  close(fd);
  errno = EXDEV;
  return -1;
}

/* Gives us permission on a directory that may be ours. By way of /proc, as fchmodat would follow a
 * symbolic link. */
static void open_up(int dir, const char *name) {
  char self[32];
  auto_fd fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  if (fd >= 0)
    (void)!chmod(self, 0700);
}

static int open_directory(const removal *self, int dir, const char *name) {
  int fd = open_below(self, dir, name);
  if (fd < 0 && errno == EACCES) {
    open_up(dir, name);
    fd = open_below(self, dir, name);
  }
  return fd;
}

static int unlink_plainly(int dir, const char *name, int flags) {
  return unlinkat(dir, name, flags) == 0 || errno == ENOENT ? 0 : -1;
}

/* For what lies within the tree: its directories go anyway, so their modes may be changed. */
static int unlink_entry(int dir, const char *name, int flags) {
  int rc = unlink_plainly(dir, name, flags);
  if (rc == 0 || (errno != EACCES && errno != EPERM))
    return rc;
  int reason = errno;
  if (fchmod(dir, 0700) < 0) {
    errno = reason;
    return -1;
  }
  return unlink_plainly(dir, name, flags);
}

static int fail(removal *self, const char *name) {
  int reason = errno;
  mp_error_errno(self->err, "fs", reason, "could not remove `%s` in `%s`", name, self->path);
  if (reason == EXDEV || reason == EBUSY)
    mp_error_hint(self->err, "something is mounted there: unmount it first");
  return -1;
}

static int empty_directory(removal *self, int fd, unsigned depth);

static int move_up(removal *self, int dir, const char *name) {
  for (;;) {
    char to[40];
    snprintf(to, sizeof to, ".mp-deep-%llu", (unsigned long long)self->moved++);
    if (renameat2(dir, name, self->top, to, RENAME_NOREPLACE) == 0)
      return 0;
    if (errno != EEXIST)
      return fail(self, name);
  }
}

static int remove_entry(removal *self, int dir, const char *name, unsigned depth) {
  if (fs_stopped(self->stop, self->err))
    return -1;
  if (unlink_entry(dir, name, 0) == 0)
    return 0;
  if (errno != EISDIR)
    return fail(self, name);
  auto_fd fd = open_directory(self, dir, name);
  if (fd < 0)
    return errno == ENOENT ? 0 : fail(self, name);
  if (depth >= DEPTH_MOST)
    return move_up(self, dir, name);
  if (empty_directory(self, fd, depth + 1) < 0)
    return -1;
  return unlink_entry(dir, name, AT_REMOVEDIR) == 0 ? 0 : fail(self, name);
}

/* Reads to the end before it looks again, since what others add meanwhile, or move_up, may show or
 * not. Does not take `fd`. */
static int empty_directory(removal *self, int fd, unsigned depth) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
  if (dir == NULL) {
    fs_close(&copy);
    return fail(self, ".");
  }
  int rc = 0;
  for (bool found = true; found && rc == 0;) {
    struct dirent *entry;
    found = false;
    while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
      if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        continue;
      rc = remove_entry(self, fd, entry->d_name, depth);
      found = true;
    }
    if (rc == 0 && errno)
      rc = fail(self, ".");
    rewinddir(dir);
  }
  closedir(dir);
  return rc;
}

int mp_fs_remove_tree(const char *path, bool cross_mounts, const atomic_bool *stop, mp_error *err) {
  mp_auto_free char *plain = mp_path_normalize(path);
  struct stat st;
  removal self = {.path = path, .cross_mounts = cross_mounts, .stop = stop, .top = -1, .err = err};
  if (*path == '\0' || strcmp(plain, "/") == 0 || strcmp(plain, ".") == 0 ||
      strcmp(plain, "..") == 0)
    return mp_error_set(err, "fs", MP_INVALID, "refusing to remove `%s`", path);
  mp_auto_free char *parent = mp_path_dirname(plain), *name = mp_path_basename(plain);
  auto_fd dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0)
    return errno == ENOENT ? 0 : mp_error_errno(err, "fs", errno, "could not open `%s`", parent);
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? 0 : mp_error_errno(err, "fs", errno, "could not look at `%s`", path);
  if (!S_ISDIR(st.st_mode))
    return unlink_plainly(dir, name, 0) == 0
               ? 0
               : mp_error_errno(err, "fs", errno, "could not remove `%s`", path);
  self.device = st.st_dev;
  auto_fd top = open_directory(&self, dir, name);
  if (top < 0)
    return fail(&self, name);
  self.top = top;
  if (empty_directory(&self, top, 0) < 0)
    return -1;
  return unlink_plainly(dir, name, AT_REMOVEDIR) == 0
             ? 0
             : mp_error_errno(err, "fs", errno, "could not remove `%s`", path);
}
