#include "log.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  HEADER_MAX = MP_SHIM_TIMESTAMP_LEN + sizeof " stdout F ",
  FILE_NAME_MAX = 64,
};

/* Records on their way into the log that is being written. Static, so that an idle shim has one
 * page of it: what malloc gives is touched at both ends. */
static struct {
  size_t len;
  uint64_t bytes; /* what the service wrote of it */
  uint64_t lines;
  char data[MP_SHIM_BATCH_MAX];
} batch;

static void file_name(const mp_shim_log *log, unsigned number, char out[FILE_NAME_MAX]) {
  if (number == 0)
    snprintf(out, FILE_NAME_MAX, "%s", log->name);
  else
    snprintf(out, FILE_NAME_MAX, "%s.%u", log->name, number);
}

/* A crash of the machine can leave half a record: the next must not become its continuation. */
static void end_torn_record(mp_shim_log *log) {
  char last;
  if (log->size > 0 && pread(log->fd, &last, 1, (off_t)log->size - 1) == 1 && last != '\n' &&
      write(log->fd, "\n", 1) == 1)
    log->size++;
}

static int open_newest(mp_shim_log *log) {
  log->fd = openat(log->dir, log->name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat info;
  if (log->fd < 0 || fstat(log->fd, &info) < 0)
    return -1;
  log->size = (uint64_t)info.st_size;
  log->limit = log->max_size;
  end_torn_record(log);
  return 0;
}

/* Files numbered past max_files were made under a larger setting. */
static void remove_surplus(const mp_shim_log *log) {
  char name[FILE_NAME_MAX];
  for (unsigned number = log->max_files;; number++) {
    file_name(log, number, name);
    if (unlinkat(log->dir, name, 0) < 0)
      return;
  }
}

int mp_shim_log_open(mp_shim_log *log, int dir, const char *name, uint64_t max_size,
                     unsigned max_files, mp_shim_error *err) {
  *log = (mp_shim_log){
      .dir = dir, .name = name, .max_size = max_size, .max_files = max_files, .fd = -1};
  remove_surplus(log);
  if (open_newest(log) == 0)
    return 0;
  int why = errno;
  mp_shim_log_close(log);
  return mp_shim_fail_errno(err, why, "could not open the log `%s`", name);
}

void mp_shim_log_close(mp_shim_log *log) {
  if (log->fd >= 0)
    close(log->fd);
  log->fd = -1;
}

static void rotate(mp_shim_log *log) {
  char from[FILE_NAME_MAX], to[FILE_NAME_MAX];
  for (unsigned number = log->max_files - 1; number > 0; number--) {
    file_name(log, number - 1, from);
    file_name(log, number, to);
    if (renameat(log->dir, from, log->dir, to) < 0 && errno != ENOENT) {
      /* Better a log that grows than one that loses lines; try again after as much more. */
      log->limit = log->size + log->max_size;
      return;
    }
  }
  if (log->max_files == 1)
    unlinkat(log->dir, log->name, 0);
  if (log->fd >= 0)
    close(log->fd);
  log->fd = -1;
  log->size = 0;
  log->limit = log->max_size;
}

/* Cuts a torn record off again. By the file's own size: who emptied it to make space has not told.
 * Should even that fail, it is ended like one left by a crash when the file is opened anew. */
static void cut_torn_record(mp_shim_log *log, size_t torn) {
  struct stat info;
  if (fstat(log->fd, &info) == 0 && ftruncate(log->fd, info.st_size - (off_t)torn) == 0) {
    log->size = (uint64_t)info.st_size - torn;
    return;
  }
  close(log->fd);
  log->fd = -1;
}

/* Writes whole records, or leaves the file as it was. */
static int write_records(mp_shim_log *log, const char *bytes, size_t len) {
  if (log->fd < 0 && open_newest(log) < 0)
    return -1;
  ssize_t written;
  do
    written = write(log->fd, bytes, len);
  while (written < 0 && errno == EINTR);
  if (written == (ssize_t)len) {
    log->size += len;
    return 0;
  }
  if (written >= 0) {
    cut_torn_record(log, (size_t)written);
    errno = ENOSPC;
  }
  return -1;
}

static int write_gap(mp_shim_log *log) {
  char record[256], now[MP_SHIM_TIMESTAMP_LEN + 1];
  mp_shim_timestamp(mp_shim_wall_time(), now);
  int len = snprintf(record, sizeof record,
                     "%s stderr F moonport-shim: %llu bytes of output (%llu lines) are missing "
                     "here, the log could not be written: %s\n",
                     now, (unsigned long long)log->gap_bytes, (unsigned long long)log->gap_lines,
                     strerror(log->gap_errno));
  if (write_records(log, record, (size_t)len) < 0)
    return -1;
  log->gap_bytes = log->gap_lines = 0;
  return 0;
}

static void flush(mp_shim_log *log) {
  if (log->copy)
    mp_shim_output_flush(log->copy);
  if (batch.len == 0)
    return;
  bool has_gap = log->gap_bytes > 0 || log->gap_lines > 0;
  if ((has_gap && write_gap(log) < 0) || write_records(log, batch.data, batch.len) < 0) {
    log->gap_errno = errno;
    log->gap_bytes += batch.bytes;
    log->gap_lines += batch.lines;
    log->dropped_bytes += batch.bytes;
    log->dropped_lines += batch.lines;
  }
  batch.len = 0;
  batch.bytes = batch.lines = 0;
}

static void add_record(mp_shim_log *log, const char *timestamp, const char *stream, char tag,
                       const char *bytes, size_t len) {
  char header[HEADER_MAX];
  if (log->copy)
    mp_shim_output_add(log->copy, bytes, len, tag == 'P');
  int header_len = snprintf(header, sizeof header, "%s %s %c ", timestamp, stream, tag);
  size_t record = (size_t)header_len + len + 1;
  if (log->size + batch.len + record > log->limit && log->size + batch.len > 0) {
    flush(log);
    if (log->size > 0)
      rotate(log);
  }
  if (batch.len + record > MP_SHIM_BATCH_MAX)
    flush(log);
  char *at = batch.data + batch.len;
  memcpy(at, header, (size_t)header_len);
  if (len > 0)
    memcpy(at + header_len, bytes, len);
  at[record - 1] = '\n';
  batch.len += record;
  batch.bytes += len;
  if (tag == 'F') {
    batch.bytes++; /* the newline, which the service wrote too */
    batch.lines++;
  }
}

/* Turns into records what can be: `added` bytes came behind the first `stream->len`, which hold no
 * newline. */
static void split(mp_shim_log *log, mp_shim_stream *stream, size_t added) {
  char now[MP_SHIM_TIMESTAMP_LEN + 1];
  mp_shim_timestamp(mp_shim_wall_time(), now);
  char *start = stream->held, *end = stream->held + stream->len + added;
  char *scan = stream->held + stream->len;
  char *newline;
  while ((newline = memchr(scan, '\n', (size_t)(end - scan))) != NULL) {
    add_record(log, now, stream->name, 'F', start, (size_t)(newline - start));
    start = scan = newline + 1;
  }
  stream->len = (size_t)(end - start);
  if (stream->len == MP_SHIM_LINE_MAX) {
    add_record(log, now, stream->name, 'P', start, stream->len);
    stream->len = 0;
  } else if (start != stream->held) {
    memmove(stream->held, start, stream->len);
  }
}

ssize_t mp_shim_log_pump(mp_shim_log *log, mp_shim_stream *stream, int fd) {
  ssize_t got = read(fd, stream->held + stream->len, MP_SHIM_LINE_MAX - stream->len);
  if (got > 0) {
    split(log, stream, (size_t)got);
    flush(log);
  }
  return got;
}

void mp_shim_log_feed(mp_shim_log *log, mp_shim_stream *stream, const char *bytes, size_t len) {
  while (len > 0) {
    size_t room = MP_SHIM_LINE_MAX - stream->len;
    size_t part = len < room ? len : room;
    memcpy(stream->held + stream->len, bytes, part);
    split(log, stream, part);
    bytes += part;
    len -= part;
  }
  flush(log);
}

void mp_shim_log_end(mp_shim_log *log, mp_shim_stream *stream) {
  if (stream->len == 0)
    return;
  char now[MP_SHIM_TIMESTAMP_LEN + 1];
  mp_shim_timestamp(mp_shim_wall_time(), now);
  add_record(log, now, stream->name, 'F', stream->held, stream->len);
  batch.bytes--; /* this newline is ours */
  stream->len = 0;
  flush(log);
}

void mp_shim_log_note(mp_shim_log *log, const char *format, ...) {
  char line[512], now[MP_SHIM_TIMESTAMP_LEN + 1];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (len < 0)
    return;
  mp_shim_timestamp(mp_shim_wall_time(), now);
  add_record(log, now, "stderr", 'F', line,
             (size_t)len < sizeof line ? (size_t)len : sizeof line - 1);
  flush(log);
}
