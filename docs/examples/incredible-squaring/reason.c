#include "reason.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int because(reason *why, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(why->text, sizeof why->text, format, args);
  va_end(args);
  return -1;
}

int because_errno(reason *why, const char *format, ...) {
  int saved = errno;
  va_list args;
  va_start(args, format);
  vsnprintf(why->text, sizeof why->text, format, args);
  va_end(args);
  size_t used = strlen(why->text);
  snprintf(why->text + used, sizeof why->text - used, ": %s", strerror(saved));
  return -1;
}
