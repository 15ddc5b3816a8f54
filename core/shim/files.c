#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

ssize_t mp_shim_file_read(const char *path, char *out, size_t cap) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  size_t used = 0;
  ssize_t got = 0;
  while (used < cap - 1) {
    got = read(fd, out + used, cap - 1 - used);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    used += (size_t)got;
  }
  int why = errno;
  close(fd);
  errno = why;
  out[used] = '\0';
  return got < 0 ? -1 : (ssize_t)used;
}

int mp_shim_file_write(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  ssize_t written = write(fd, text, strlen(text));
  int why = errno;
  close(fd);
  errno = why;
  return written < 0 ? -1 : 0;
}

static int write_whole(int fd, const char *text, size_t len, bool sync) {
  while (len > 0) {
    ssize_t written = write(fd, text, len);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return -1;
    text += written;
    len -= (size_t)written;
  }
  return sync ? fdatasync(fd) : 0;
}

int mp_shim_file_replace(int dir, const char *name, const char *text, size_t len, bool sync) {
  char temporary[64];
  snprintf(temporary, sizeof temporary, "%s.new", name);
  int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return -1;
  int result = write_whole(fd, text, len, sync);
  int why = errno;
  if (close(fd) < 0 && result == 0) {
    result = -1;
    why = errno;
  }
  if (result == 0 && renameat(dir, temporary, dir, name) == 0)
    return 0;
  if (result == 0)
    why = errno;
  unlinkat(dir, temporary, 0);
  errno = why;
  return -1;
}
