#define MP_ERROR_C
#include "error.h"

#include "mem.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *mp_errno_name(int errnum) {
  const char *name = strerrorname_np(errnum < 0 ? -errnum : errnum);
  return name ? name : "EUNKNOWN";
}

static void fill(mp_error *err, const char *domain, const char *code, char *message) {
  mp_error_reset(err);
  err->domain = domain;
  err->code = code;
  err->message = message;
}

int mp_error_set(mp_error *err, const char *domain, const char *code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *message = mp_vsprintf(format, args);
  va_end(args);
  fill(err, domain, code, message);
  return -1;
}

int mp_error_errno(mp_error *err, const char *domain, int errnum, const char *format, ...) {
  va_list args;
  va_start(args, format);
  mp_auto_free char *what = mp_vsprintf(format, args);
  va_end(args);
  int number = errnum < 0 ? -errnum : errnum;
  fill(err, domain, mp_errno_name(number), mp_sprintf("%s: %s", what, strerror(number)));
  return -1;
}

int mp_error_hint(mp_error *err, const char *format, ...) {
  va_list args;
  va_start(args, format);
  free(err->hint);
  err->hint = mp_vsprintf(format, args);
  va_end(args);
  return -1;
}

int mp_error_wrap(mp_error *err, const char *domain, const char *code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *message = mp_vsprintf(format, args);
  va_end(args);
  mp_error *cause = mp_alloc(sizeof *cause);
  *cause = *err;
  *err = MP_ERROR_INIT;
  fill(err, domain, code, message);
  err->cause = cause;
  return -1;
}

bool mp_error_is(const mp_error *err, const char *code) {
  return err->code && strcmp(err->code, code) == 0;
}

void mp_error_copy(mp_error *to, const mp_error *from) {
  mp_error copy = {.domain = from->domain, .code = from->code};
  copy.message = mp_strdup(from->message);
  copy.hint = mp_strdup(from->hint);
  if (from->cause) {
    copy.cause = mp_alloc(sizeof *copy.cause);
    mp_error_copy(copy.cause, from->cause);
  }
  mp_error_reset(to);
  *to = copy;
}

void mp_error_move(mp_error *to, mp_error *from) {
  mp_error_reset(to);
  *to = *from;
  *from = MP_ERROR_INIT;
}

void mp_error_reset(mp_error *err) {
  free(err->message);
  free(err->hint);
  if (err->cause) {
    mp_error_reset(err->cause);
    free(err->cause);
  }
  *err = MP_ERROR_INIT;
}
