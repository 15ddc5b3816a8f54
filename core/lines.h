/* Splits a byte stream into lines. */
#ifndef MP_CORE_LINES_H
#define MP_CORE_LINES_H

#include "buf.h"

#include <stdbool.h>

typedef struct {
  mp_buf bytes;
  size_t start;   /* where the next line begins in `bytes` */
  size_t scanned; /* up to where no newline was found */
} mp_lines;

#define MP_LINES_INIT                                                                              \
  (mp_lines) {                                                                                     \
    0                                                                                              \
  }

/* Adds bytes that arrived. */
void mp_lines_feed(mp_lines *lines, const void *bytes, size_t len);

/* Takes the next whole line, without its "\n" or "\r\n".
 * Returns false when none is complete. *line points into the splitter and is valid until the next
 * mp_lines_feed or mp_lines_free. */
bool mp_lines_next(mp_lines *lines, const char **line, size_t *len);

/* Takes what is left at the end of the stream: true when bytes without a final newline remain. */
bool mp_lines_rest(mp_lines *lines, const char **line, size_t *len);

/* Takes up to `max` of the bytes held, whatever they are: for readers that mix lines and blocks.
 * False when none are held. Validity as for mp_lines_next. */
bool mp_lines_take(mp_lines *lines, size_t max, const char **bytes, size_t *len);

/* Bytes held that were not taken. */
size_t mp_lines_pending(const mp_lines *lines);

void mp_lines_free(mp_lines *lines);

#endif
