/* Files that are large and mostly empty, such as disks: made, grown, read in parts. */
#include "fs_internal.h"
#include "mem.h"
#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

static const char domain[] = "fs";

static int open_or_make(const char *path, mode_t mode, bool *made, mp_error *err) {
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & 0777);
  *made = fd >= 0;
  if (fd < 0 && errno == EEXIST)
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd >= 0 && *made && fchmod(fd, mode & 07777) < 0) { /* whatever the umask says */
    fs_close(&fd);
    unlink(path);
  }
  if (fd < 0)
    mp_error_errno(err, domain, errno, "could not make `%s`", path);
  return fd;
}

static int grow(int fd, const char *path, uint64_t size, uint64_t *before, mp_error *err) {
  struct stat st;
  if (fstat(fd, &st) < 0)
    return mp_error_errno(err, domain, errno, "could not open `%s`", path);
  if (!S_ISREG(st.st_mode))
    return mp_error_set(err, domain, MP_INVALID, "`%s` is a %s, not a file", path,
                        mp_fs_type(st.st_mode));
  if ((uint64_t)st.st_size > size)
    return mp_error_set(err, domain, MP_FS_LARGER,
                        "`%s` has %" PRIu64 " bytes, and is not cut to %" PRIu64, path,
                        (uint64_t)st.st_size, size);
  if (ftruncate(fd, (off_t)size) < 0)
    return mp_error_errno(err, domain, errno, "could not make `%s` %" PRIu64 " bytes large", path,
                          size);
  *before = (uint64_t)st.st_size;
  return 0;
}

static int sync_one(const char *path, int flags) {
  auto_fd fd = open(path, flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  return fd < 0 ? -1 : fsync(fd);
}

int mp_fs_sync(const char *path, bool name, mp_error *err) {
  mp_auto_free char *dir = mp_path_dirname(path);
  if (sync_one(path, 0) < 0 || (name && sync_one(dir, O_DIRECTORY) < 0))
    return mp_error_errno(err, domain, errno, "could not sync `%s`", path);
  return 0;
}

int mp_fs_sparse(const char *path, uint64_t size, mode_t mode, bool no_sync, uint64_t *before,
                 mp_error *err) {
  bool made;
  uint64_t had = 0;
  if (size > INT64_MAX)
    return mp_error_set(err, domain, MP_INVALID, "no file has %" PRIu64 " bytes", size);
  auto_fd fd = open_or_make(path, mode, &made, err);
  if (fd < 0)
    return -1;
  if (grow(fd, path, size, &had, err) < 0 || (!no_sync && mp_fs_sync(path, made, err) < 0)) {
    if (made)
      unlink(path);
    return -1;
  }
  if (before)
    *before = had;
  return 0;
}

int mp_fs_read_at(const char *path, uint64_t offset, size_t len, mp_buf *out, mp_error *err) {
  auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return mp_error_errno(err, domain, errno, "could not open `%s`", path);
  size_t done = 0;
  mp_auto_free char *block = mp_alloc(len ? len : 1);
  while (done < len) {
    ssize_t got = pread(fd, block + done, len - done, (off_t)(offset + done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return mp_error_errno(err, domain, errno, "could not read `%s`", path);
    if (got == 0)
      break;
    done += (size_t)got;
  }
  mp_buf_append(out, block, done);
  return 0;
}
