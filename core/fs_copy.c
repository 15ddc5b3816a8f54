/* Copying a file with as little work as the file system allows. */
#include "fs_internal.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define CHUNK ((size_t)16 << 20) /* between two looks at `stop` */

typedef struct {
  const char *from, *to; /* for messages */
  int in, out;
  bool by_hand; /* copy_file_range does not work between these two */
  uint64_t bytes;
  const atomic_bool *stop;
  mp_error *err;
} copy;

static int fail(copy *self) {
  return mp_error_errno(self->err, "fs", errno, "could not copy `%s` to `%s`", self->from,
                        self->to);
}

static ssize_t read_and_write(copy *self, off_t at, size_t len) {
  static const size_t most = 1 << 20;
  mp_auto_free char *block = mp_alloc(most);
  ssize_t got = pread(self->in, block, len < most ? len : most, at);
  if (got <= 0)
    return got;
  if (lseek(self->out, at, SEEK_SET) < 0 || fs_write_all(self->out, block, (size_t)got) < 0)
    return -1;
  return got;
}

static ssize_t copy_some(copy *self, off_t at, size_t len) {
  if (len > CHUNK)
    len = CHUNK;
  if (!self->by_hand) {
    off_t from = at, to = at;
    ssize_t done = copy_file_range(self->in, &from, self->out, &to, len, 0);
    if (done > 0 || (done < 0 && (errno == ENOSPC || errno == EIO || errno == EDQUOT)))
      return done;
    if (done < 0 && errno == EINTR)
      return copy_some(self, at, len);
    self->by_hand = true; /* 0 too: some kernels copy nothing from files such as those in /proc */
  }
  return read_and_write(self, at, len);
}

/* Copies [at, end). A file that has shrunk, or never had as much as it says (such as those in
 * /sys), ends early: *end becomes where. */
static int copy_range(copy *self, off_t at, off_t *end) {
  while (at < *end) {
    if (fs_stopped(self->stop, self->err))
      return -1;
    ssize_t done = copy_some(self, at, (size_t)(*end - at));
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return fail(self);
    if (done == 0)
      *end = at;
    at += done;
    self->bytes += (uint64_t)done;
  }
  return 0;
}

static int copy_data(copy *self, off_t size) {
  off_t at = 0;
  while (at < size) {
    off_t data = lseek(self->in, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
      break; /* only a hole is left */
    off_t end = data < 0 ? size : lseek(self->in, data, SEEK_HOLE);
    if (data < 0 || end < 0) { /* the file system knows of no holes */
      data = at;
      end = size;
    }
    off_t copied = end;
    if (copy_range(self, data, &copied) < 0)
      return -1;
    if (copied < end)
      size = copied;
    at = copied;
  }
  return ftruncate(self->out, size) < 0 ? fail(self) : 0;
}

/* Files of the kernel's have a size of 0 and content nonetheless. */
static int copy_to_end(copy *self) {
  off_t end = INT64_MAX;
  self->by_hand = true;
  return copy_range(self, 0, &end);
}

static int fill(copy *self, off_t size, bool reflink_only, mp_fs_copied *result) {
  result->method = "reflink";
  if (size > 0 && ioctl(self->out, FICLONE, self->in) == 0)
    return 0;
  if (size > 0 && reflink_only)
    return fail(self);
  result->method = "copy";
  int rc = size > 0 ? copy_data(self, size) : copy_to_end(self);
  result->bytes = self->bytes;
  return rc;
}

/* By a hole at the end. */
static int grow(copy *self, off_t size, uint64_t wanted) {
  if (wanted <= (uint64_t)size)
    return 0;
  return ftruncate(self->out, (off_t)wanted) < 0 ? fail(self) : 0;
}

int mp_fs_copy(const char *from, const char *to, const mp_fs_copy_options *options,
               mp_fs_copied *result, const atomic_bool *stop, mp_error *err) {
  static const mp_fs_copy_options defaults;
  mp_fs_copied done = {0};
  struct stat st;
  if (options == NULL)
    options = &defaults;
  auto_fd in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (in < 0 || fstat(in, &st) < 0)
    return mp_error_errno(err, "fs", errno, "could not open `%s`", from);
  if (!S_ISREG(st.st_mode))
    return mp_error_set(err, "fs", MP_INVALID, "`%s` is a %s, not a file", from,
                        mp_fs_type(st.st_mode));
  auto_pending file = FS_PENDING_INIT;
  mode_t mode = options->mode ? options->mode : st.st_mode & 0777;
  if (fs_begin(&file, to, mode ? mode : 0600, err) < 0)
    return -1;
  copy self = {
      .from = from, .to = to, .in = in, .out = file.fd, .stop = stop, .err = err, .bytes = 0};
  if (fill(&self, st.st_size, options->reflink_only, &done) < 0 ||
      grow(&self, st.st_size, options->size) < 0)
    return -1;
  if (fs_commit(&file, options->exclusive, !options->no_sync, err) < 0)
    return -1;
  if (result)
    *result = done;
  return 0;
}
