/* A growable byte buffer. Always NUL-terminated after its content, so `data` is also a C string
 * once something was appended. */
#ifndef MP_CORE_BUF_H
#define MP_CORE_BUF_H

#include <stddef.h>

typedef struct {
  char *data; /* owned; NULL while nothing was ever appended */
  size_t len;
  size_t cap;
} mp_buf;

#define MP_BUF_INIT                                                                                \
  (mp_buf) {                                                                                       \
    0                                                                                              \
  }

void mp_buf_append(mp_buf *buf, const void *bytes, size_t len);
void mp_buf_puts(mp_buf *buf, const char *text);
void mp_buf_printf(mp_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes room for `extra` bytes after the content and returns their address. The caller writes there
 * and adds what it wrote to buf->len. */
char *mp_buf_reserve(mp_buf *buf, size_t extra);

/* Drops the first `count` bytes. */
void mp_buf_consume(mp_buf *buf, size_t count);

/* Empties the buffer and keeps its memory. */
void mp_buf_clear(mp_buf *buf);

/* Releases the memory; the buffer may be used again. */
void mp_buf_free(mp_buf *buf);

/* The same for a buffer that holds a secret: its last memory is wiped first. */
void mp_buf_wipe(mp_buf *buf);

#define mp_auto_buf __attribute__((cleanup(mp_buf_free)))

#endif
