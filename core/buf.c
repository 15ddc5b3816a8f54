#include "buf.h"

#include "mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *mp_buf_reserve(mp_buf *buf, size_t extra) {
  size_t need = buf->len + extra + 1;
  if (need > buf->cap) {
    size_t cap = buf->cap ? buf->cap : 64;
    while (cap < need)
      cap *= 2;
    buf->data = mp_realloc(buf->data, cap);
    buf->cap = cap;
  }
  return buf->data + buf->len;
}

void mp_buf_append(mp_buf *buf, const void *bytes, size_t len) {
  char *end = mp_buf_reserve(buf, len);
  if (len > 0)
    memcpy(end, bytes, len);
  buf->len += len;
  buf->data[buf->len] = '\0';
}

void mp_buf_puts(mp_buf *buf, const char *text) {
  mp_buf_append(buf, text, strlen(text));
}

void mp_buf_printf(mp_buf *buf, const char *format, ...) {
  va_list args;
  va_start(args, format);
  mp_auto_free char *text = mp_vsprintf(format, args);
  va_end(args);
  mp_buf_puts(buf, text);
}

void mp_buf_consume(mp_buf *buf, size_t count) {
  if (count >= buf->len) {
    mp_buf_clear(buf);
    return;
  }
  memmove(buf->data, buf->data + count, buf->len - count + 1);
  buf->len -= count;
}

void mp_buf_clear(mp_buf *buf) {
  buf->len = 0;
  if (buf->data)
    buf->data[0] = '\0';
}

void mp_buf_free(mp_buf *buf) {
  free(buf->data);
  *buf = MP_BUF_INIT;
}

void mp_buf_wipe(mp_buf *buf) {
  if (buf->data)
    explicit_bzero(buf->data, buf->cap);
  mp_buf_free(buf);
}
