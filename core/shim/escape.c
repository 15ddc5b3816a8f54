#include "escape.h"

#include <string.h>

size_t mp_shim_escape(const char *bytes, size_t len, char *out) {
  char *to = out;
  for (size_t i = 0; i < len; i++) {
    if (bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == '\\') {
      *to++ = '\\';
      *to++ = bytes[i] == '\n' ? 'n' : bytes[i] == '\r' ? 'r' : '\\';
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
      *to++ = *from == 'n' ? '\n' : *from == 'r' ? '\r' : *from;
    } else {
      *to++ = *from;
    }
  }
  return (size_t)(to - bytes);
}
