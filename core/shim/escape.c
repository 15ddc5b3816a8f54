#include "escape.h"

#include <string.h>

/* The letter that stands for a byte behind a backslash, and the other way round. */
static char letter_of(char byte) {
  switch (byte) {
  case '\n':
    return 'n';
  case '\r':
    return 'r';
  default:
    return byte;
  }
}

static char byte_of(char letter) {
  switch (letter) {
  case 'n':
    return '\n';
  case 'r':
    return '\r';
  default:
    return letter;
  }
}

size_t mp_shim_escape(const char *bytes, size_t len, char *out) {
  char *to = out;
  for (size_t i = 0; i < len; i++) {
    if (bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == '\\') {
      *to++ = '\\';
      *to++ = letter_of(bytes[i]);
    } else {
      *to++ = bytes[i];
    }
  }
  return (size_t)(to - out);
}

size_t mp_shim_unescape(char *bytes, size_t len) {
  char *to = memchr(bytes, '\\', len);
  if (to == NULL)
    return len;
  for (const char *from = to, *end = bytes + len; from < end; from++) {
    if (*from == '\\' && from + 1 < end) {
      from++;
      *to++ = byte_of(*from);
    } else {
      *to++ = *from;
    }
  }
  return (size_t)(to - bytes);
}
