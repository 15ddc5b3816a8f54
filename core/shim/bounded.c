#include "bounded.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever writes the file may be able to replace it, too: the one that was there is meant. */
static int open_regular(const char *path) {
  struct stat info;
  int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0 || (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)))
    return fd;
  close(fd);
  errno = EINVAL;
  return -1;
}

static void watch_directory(mp_shim_bounded *file, const char *path) {
  char dir[4096];
  const char *slash = strrchr(path, '/');
  int len = snprintf(dir, sizeof dir, "%.*s/", (int)(slash - path), path);
  if (len < 0 || (size_t)len >= sizeof dir)
    return;
  file->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file->dir >= 0)
    fcntl(file->dir, F_NOTIFY, DN_MODIFY | DN_MULTISHOT);
}

int mp_shim_bounded_open(mp_shim_bounded *file, const char *path, mp_shim_error *err) {
  file->fd = open_regular(path);
  if (file->fd < 0)
    return mp_shim_fail_errno(err, errno, "could not open `%.200s`, which is to be bounded", path);
  watch_directory(file, path);
  return 0;
}

void mp_shim_bounded_close(mp_shim_bounded *file) {
  if (file->fd >= 0)
    close(file->fd);
  if (file->dir >= 0)
    close(file->dir);
  file->fd = file->dir = -1;
}

int mp_shim_bounded_look(mp_shim_bounded *file) {
  struct stat info;
  if (file->fd < 0 || fstat(file->fd, &info) < 0 ||
      (off_t)info.st_blocks * 512 <= MP_SHIM_BOUNDED_MAX)
    return 0;
  off_t hole = info.st_size - MP_SHIM_BOUNDED_KEPT;
  hole -= hole % 4096;
  if (hole <= 0)
    return 0;
  return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, hole);
}
