#include "lines.h"

#include <string.h>

void mp_lines_feed(mp_lines *lines, const void *bytes, size_t len) {
  if (lines->start > 0) {
    mp_buf_consume(&lines->bytes, lines->start);
    lines->scanned -= lines->start;
    lines->start = 0;
  }
  mp_buf_append(&lines->bytes, bytes, len);
}

bool mp_lines_next(mp_lines *lines, const char **line, size_t *len) {
  const char *data = lines->bytes.data;
  size_t unscanned = lines->bytes.len - lines->scanned;
  const char *newline = unscanned ? memchr(data + lines->scanned, '\n', unscanned) : NULL;
  if (newline == NULL) {
    lines->scanned = lines->bytes.len;
    return false;
  }
  size_t end = (size_t)(newline - data);
  *line = data + lines->start;
  *len = end - lines->start;
  if (*len > 0 && data[end - 1] == '\r')
    *len -= 1;
  lines->start = lines->scanned = end + 1;
  return true;
}

bool mp_lines_rest(mp_lines *lines, const char **line, size_t *len) {
  if (mp_lines_pending(lines) == 0)
    return false;
  *line = lines->bytes.data + lines->start;
  *len = mp_lines_pending(lines);
  lines->start = lines->scanned = lines->bytes.len;
  return true;
}

bool mp_lines_take(mp_lines *lines, size_t max, const char **bytes, size_t *len) {
  size_t held = mp_lines_pending(lines);
  if (held == 0 || max == 0)
    return false;
  *bytes = lines->bytes.data + lines->start;
  *len = held < max ? held : max;
  lines->start += *len;
  if (lines->scanned < lines->start)
    lines->scanned = lines->start;
  return true;
}

size_t mp_lines_pending(const mp_lines *lines) {
  return lines->bytes.len - lines->start;
}

void mp_lines_free(mp_lines *lines) {
  mp_buf_free(&lines->bytes);
  *lines = MP_LINES_INIT;
}
