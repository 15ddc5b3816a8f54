#define MP_SHIM_ERROR_C
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* musl has no strerrorname_np; these are the ones that the shim's system calls can give. */
static const struct {
  int number;
  const char *name;
} names[] = {
    {E2BIG, "E2BIG"},
    {EACCES, "EACCES"},
    {EADDRINUSE, "EADDRINUSE"},
    {EADDRNOTAVAIL, "EADDRNOTAVAIL"},
    {EAGAIN, "EAGAIN"},
    {EBADF, "EBADF"},
    {EBUSY, "EBUSY"},
    {EDQUOT, "EDQUOT"},
    {EEXIST, "EEXIST"},
    {EFAULT, "EFAULT"},
    {EFBIG, "EFBIG"},
    {EHOSTUNREACH, "EHOSTUNREACH"},
    {EINVAL, "EINVAL"},
    {EIO, "EIO"},
    {EISDIR, "EISDIR"},
    {ELOOP, "ELOOP"},
    {EMFILE, "EMFILE"},
    {ENAMETOOLONG, "ENAMETOOLONG"},
    {ENETUNREACH, "ENETUNREACH"},
    {ENFILE, "ENFILE"},
    {ENODEV, "ENODEV"},
    {ENOENT, "ENOENT"},
    {ENOEXEC, "ENOEXEC"},
    {ENOMEM, "ENOMEM"},
    {ENOSPC, "ENOSPC"},
    {ENOSYS, "ENOSYS"},
    {ENOTDIR, "ENOTDIR"},
    {ENOTTY, "ENOTTY"},
    {EOPNOTSUPP, "EOPNOTSUPP"},
    {EPERM, "EPERM"},
    {EPIPE, "EPIPE"},
    {EROFS, "EROFS"},
    {ESRCH, "ESRCH"},
    {ETXTBSY, "ETXTBSY"},
    {EXDEV, "EXDEV"},
};

const char *mp_shim_errno_name(int errnum) {
  static char nameless[16];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].number == errnum)
      return names[i].name;
  snprintf(nameless, sizeof nameless, "E%d", errnum);
  return nameless;
}

/* A message goes out as the rest of a line: whatever was quoted in it, it stays one line. */
static void make_printable(char *text) {
  for (; *text; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7f)
      *text = '?';
}

static void fill(mp_shim_error *err, const char *code, const char *format, va_list args) {
  snprintf(err->code, sizeof err->code, "%s", code);
  vsnprintf(err->message, sizeof err->message, format, args);
}

int mp_shim_fail(mp_shim_error *err, const char *code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fill(err, code, format, args);
  va_end(args);
  make_printable(err->message);
  return -1;
}

int mp_shim_fail_errno(mp_shim_error *err, int errnum, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fill(err, mp_shim_errno_name(errnum), format, args);
  va_end(args);
  size_t used = strlen(err->message);
  snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(errnum));
  make_printable(err->message);
  return -1;
}
