#include "ledger.h"

#include "square.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Twenty digits, a space, the square, a newline and a NUL. */
#define LINE_MAX_LEN (20 + 1 + SQUARE_SIZE + 1)

static int format_line(char out[LINE_MAX_LEN], uint64_t block) {
  char squared[SQUARE_SIZE];
  square(squared, block);
  return snprintf(out, LINE_MAX_LEN, "%" PRIu64 " %s\n", block, squared);
}

/* Reads the block number of `line`, which must be exactly what we would have written. */
static bool parse_line(const char *line, size_t len, uint64_t *block) {
  char expected[LINE_MAX_LEN];
  char *end;
  errno = 0;
  uint64_t value = strtoull(line, &end, 10);
  if (errno != 0 || end == line)
    return false;
  int expected_len = format_line(expected, value);
  *block = value;
  return value != UINT64_MAX && (size_t)expected_len == len && memcmp(expected, line, len) == 0;
}

/* Finds the last whole line in the last bytes of the file and cuts what follows it. */
static int recover(ledger *l, reason *why) {
  enum { TAIL = 2 * LINE_MAX_LEN };
  char tail[TAIL + 1];
  struct stat st;
  if (fstat(l->fd, &st) != 0)
    return because_errno(why, "squares.log");
  size_t want = (size_t)(st.st_size < TAIL ? st.st_size : TAIL);
  ssize_t got = pread(l->fd, tail, want, st.st_size - (off_t)want);
  if (got != (ssize_t)want)
    return because_errno(why, "cannot read squares.log");
  tail[got] = '\0';

  const char *newline = memrchr(tail, '\n', want);
  size_t whole = newline ? (size_t)(newline - tail) + 1 : 0;
  l->cut = (off_t)(want - whole);
  l->size = st.st_size - l->cut;
  if (l->cut >= LINE_MAX_LEN)
    return because(why, "squares.log is damaged at its end; move it away to begin anew");
  if (whole > 0) {
    const char *before = memrchr(tail, '\n', whole - 1);
    const char *line = before ? before + 1 : tail;
    if (!parse_line(line, whole - (size_t)(line - tail), &l->last))
      return because(why, "squares.log is damaged at its end; move it away to begin anew");
    l->any = true;
  }
  if (l->cut > 0 && ftruncate(l->fd, l->size) != 0)
    return because_errno(why, "cannot cut the unfinished line off squares.log");
  return 0;
}

/* A file is only as durable as the directory entry that names it. */
static int sync_directory(int dir, reason *why) {
  return fsync(dir) == 0 ? 0 : because_errno(why, "cannot sync the data directory");
}

int ledger_open(ledger *l, const char *data_dir, reason *why) {
  *l = (ledger){.fd = -1};
  if (mkdir(data_dir, 0700) != 0 && errno != EEXIST)
    return because_errno(why, "cannot make `%s`", data_dir);
  int dir = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0)
    return because_errno(why, "cannot open `%s`", data_dir);
  l->fd = openat(dir, "squares.log", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  int failed = 0;
  if (l->fd < 0)
    failed = because_errno(why, "cannot open `%s/squares.log`", data_dir);
  else if (flock(l->fd, LOCK_EX | LOCK_NB) != 0)
    failed = because(why, "`%s/squares.log` is in use by another instance", data_dir);
  else
    failed = sync_directory(dir, why) != 0 || recover(l, why) != 0;
  close(dir);
  if (failed)
    ledger_close(l);
  return failed ? -1 : 0;
}

static int write_all(ledger *l, const char *bytes, size_t len, reason *why) {
  for (size_t done = 0; done < len;) {
    ssize_t n = pwrite(l->fd, bytes + done, len - done, l->size + (off_t)done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return because_errno(why, "cannot append to squares.log");
    done += (size_t)n;
  }
  return fdatasync(l->fd) == 0 ? 0 : because_errno(why, "cannot sync squares.log");
}

int ledger_append(ledger *l, uint64_t first, uint64_t last, reason *why) {
  char batch[LEDGER_BATCH * LINE_MAX_LEN];
  size_t len = 0;
  for (uint64_t count = last - first + 1, block = first; count > 0; count--, block++)
    len += (size_t)format_line(batch + len, block);
  if (write_all(l, batch, len, why) != 0) {
    if (ftruncate(l->fd, l->size) != 0)
      because_errno(why, "squares.log holds an unfinished line that cannot be cut off");
    return -1;
  }
  l->size += (off_t)len;
  l->last = last;
  l->any = true;
  return 0;
}

void ledger_close(ledger *l) {
  if (l->fd >= 0)
    close(l->fd);
  l->fd = -1;
}
