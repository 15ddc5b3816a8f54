/* The shim's errors: values as in core/error.h, in fixed memory, since the shim must be able to say
 * what is wrong when memory or disk are short, and must stay small.
 *
 * A function that can fail returns 0 or -1 and takes a trailing `mp_shim_error *err`, never NULL,
 * which it fills on failure only. Messages hold no byte of an environment value. */
#ifndef MP_SHIM_ERROR_H
#define MP_SHIM_ERROR_H

typedef struct {
  char code[24];     /* an errno name ("ENOENT") or a word ("invalid") */
  char message[448]; /* one line, printable, valid as text after `error CODE ` */
} mp_shim_error;

/* Fills *err and returns -1. A message that does not fit is cut. */
int mp_shim_fail(mp_shim_error *err, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As mp_shim_fail with the code taken from an errno value and ": <strerror>" appended. */
int mp_shim_fail_errno(mp_shim_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "ENOENT" for ENOENT; "E<number>" for the ones without a name here. Static string, overwritten by
 * the next call for a nameless one. */
const char *mp_shim_errno_name(int errnum);

#if defined(__clang_analyzer__) && !defined(MP_SHIM_ERROR_C)
/* The analyzer sees one file at a time; this tells it what these always return. */
#define mp_shim_fail(...) (mp_shim_fail(__VA_ARGS__), -1)
#define mp_shim_fail_errno(...) (mp_shim_fail_errno(__VA_ARGS__), -1)
#endif

#endif
