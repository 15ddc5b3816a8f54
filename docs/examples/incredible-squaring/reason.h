/* Why something failed, in words for the operator.
 *
 * A function that can fail returns 0, or -1 after filling the `reason` it was given. Nothing is
 * allocated, so nothing needs to be released. Text that does not fit is cut.
 */
#ifndef SQUARING_REASON_H
#define SQUARING_REASON_H

typedef struct {
  char text[320];
} reason;

/* Fills *why and returns -1, so `return because(why, ...)` reads well. */
int because(reason *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As because, with ": <strerror(errno)>" appended. */
int because_errno(reason *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
