/* Errors are values.
 *
 * Convention of the whole of core/: a function that can fail returns 0 on success and -1 on failure
 * and takes a trailing `mp_error *err`. On failure it fills *err, which the caller owns and
 * releases with mp_error_reset; on success it leaves *err untouched. `err` is never NULL.
 * Out-parameters are written only on success.
 *
 * Messages are lower case, without a full stop, and quote the object: could not open `/x/y`: ...
 * A hint tells the operator what to do next. Programs match on `domain` and `code`, never on text.
 */
#ifndef MP_CORE_ERROR_H
#define MP_CORE_ERROR_H

#include <stdbool.h>

typedef struct mp_error mp_error;
struct mp_error {
  const char *domain; /* static string: the module ("http", "process", "fs", ...); NULL: no error */
  const char *code;   /* static string: an errno name ("ENOENT") or a word ("timeout") */
  char *message;      /* owned */
  char *hint;         /* owned, may be NULL */
  mp_error *cause;    /* owned, may be NULL */
};

#define MP_ERROR_INIT                                                                              \
  (mp_error) {                                                                                     \
    0                                                                                              \
  }

/* Codes that several modules share; compare with mp_error_is. */
#define MP_CANCELLED "cancelled"
#define MP_TIMEOUT "timeout"
#define MP_INVALID "invalid" /* a bad argument or bad input */
#define MP_PROTOCOL "protocol"
#define MP_LIMIT "limit" /* a limit set by the caller was exceeded */

/* Fills *err (which must be empty or is reset first) and returns -1.
 * domain, code: static strings. */
int mp_error_set(mp_error *err, const char *domain, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* As mp_error_set with the code taken from an errno value and ": <strerror>" appended. */
int mp_error_errno(mp_error *err, const char *domain, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Replaces the hint. Returns -1, so `return mp_error_hint(err, ...)` reads well after a set. */
int mp_error_hint(mp_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes the present *err the cause of a new error put in its place. Returns -1. */
int mp_error_wrap(mp_error *err, const char *domain, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* True when *err carries this code. */
bool mp_error_is(const mp_error *err, const char *code);

/* Deep copy; *to is reset first. */
void mp_error_copy(mp_error *to, const mp_error *from);

/* Moves *from into *to (reset first) and empties *from. */
void mp_error_move(mp_error *to, mp_error *from);

/* Releases what *err owns and empties it. Accepts an empty error. */
void mp_error_reset(mp_error *err);

/* The symbolic name of an errno value ("ENOENT"); unknown values give "EUNKNOWN". Static string.
 * Accepts libuv's negative codes too. */
const char *mp_errno_name(int errnum);

#define mp_auto_error __attribute__((cleanup(mp_error_reset)))

#if defined(__clang_analyzer__) && !defined(MP_ERROR_C)
/* The analyzer sees one file at a time; this tells it what these always return. */
#define mp_error_set(...) (mp_error_set(__VA_ARGS__), -1)
#define mp_error_errno(...) (mp_error_errno(__VA_ARGS__), -1)
#define mp_error_hint(...) (mp_error_hint(__VA_ARGS__), -1)
#define mp_error_wrap(...) (mp_error_wrap(__VA_ARGS__), -1)
#endif

#endif
