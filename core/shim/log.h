/* A log in the CRI format with rotation by size:
 *
 *   2016-10-06T00:17:09.669794202Z stdout F a whole line
 *   2016-10-06T00:17:09.669794202Z stdout P the first part of a line longer than 16 KiB
 *
 * Bytes are kept as they come. A part tagged P is continued by the stream's next record; F ends a
 * line, also one that the stream ended without a newline. Each record is written whole or not at
 * all.
 *
 * Rotation renames NAME to NAME.1 (after NAME.1 to NAME.2, ...) and then makes a new NAME, between
 * records, so who follows reads the old file to its end and then opens the new inode.
 *
 * A write that fails (a full disk) drops and counts; the next one tries again, and the first that
 * succeeds is preceded by a record that tells how much is missing at this place.
 *
 * One thread only: all logs of a process share one buffer, which is empty between two calls. */
#ifndef MP_SHIM_LOG_H
#define MP_SHIM_LOG_H

#include "error.h"
#include "output.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
  MP_SHIM_LINE_MAX = 16 * 1024,  /* content of one record, as in containerd and kubelet */
  MP_SHIM_BATCH_MAX = 32 * 1024, /* bytes of one write */
};

typedef struct {
  int dir;          /* borrowed directory fd */
  const char *name; /* borrowed: the newest file's name in it */
  uint64_t max_size;
  unsigned max_files;   /* including the newest */
  mp_shim_output *copy; /* borrowed: gets every record's content too; NULL: nobody */

  int fd;         /* -1: to be opened by the next write */
  uint64_t size;  /* of the file: always at the end of a record */
  uint64_t limit; /* rotate before growing past this; max_size unless a rotation failed */

  uint64_t dropped_bytes; /* since open, of what the service wrote */
  uint64_t dropped_lines;
  uint64_t gap_bytes; /* dropped and not yet told in the log */
  uint64_t gap_lines;
  int gap_errno; /* why */
} mp_shim_log;

/* One of the streams that go into a log: set its name and where it holds bytes, `len` is zero at
 * first. */
typedef struct {
  const char *name; /* "stdout" or "stderr" */
  char *held;       /* borrowed: room for MP_SHIM_LINE_MAX bytes that do not make a record yet */
  size_t len;
} mp_shim_stream;

/* Opens for appending; a record torn by a crash is ended with a newline. */
int mp_shim_log_open(mp_shim_log *log, int dir, const char *name, uint64_t max_size,
                     unsigned max_files, mp_shim_error *err);
void mp_shim_log_close(mp_shim_log *log);

/* Reads from `fd` once and logs what came. Returns as read(2): bytes, 0 at the end of file, -1 with
 * errno. Failing to write the log is no failure here: it is counted. */
ssize_t mp_shim_log_pump(mp_shim_log *log, mp_shim_stream *stream, int fd);

/* Logs bytes as if they had been read. */
void mp_shim_log_feed(mp_shim_log *log, mp_shim_stream *stream, const char *bytes, size_t len);

/* The stream ended: what it left without a newline becomes a line. */
void mp_shim_log_end(mp_shim_log *log, mp_shim_stream *stream);

/* One line of the shim's own, under "stderr". */
void mp_shim_log_note(mp_shim_log *log, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
