/* Bytes on a line of the control protocol: a newline is written `\n`, a carriage return `\r`, a
 * backslash twice. Whatever
 * the bytes are, a line ends where it ends, so that who comes in the middle of one finds the next.
 */
#ifndef MP_SHIM_ESCAPE_H
#define MP_SHIM_ESCAPE_H

#include <stddef.h>

/* Writes at most 2 * len bytes to `out`; returns how many. */
size_t mp_shim_escape(const char *bytes, size_t len, char *out);

/* In place; returns the new length. A backslash before any other byte stands for that byte. */
size_t mp_shim_unescape(char *bytes, size_t len);

#endif
