/* A copy of the service's output for the host, to a port or console of the guest. Whole lines;
 * nobody at the other end, or a slow one, costs lines and never time: what does not fit is dropped
 * and counted, and the copy tells how much is missing where it is missing. */
#ifndef MP_SHIM_OUTPUT_H
#define MP_SHIM_OUTPUT_H

#include "loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MP_SHIM_OUTPUT_KEPT = 256 * 1024 }; /* bytes that wait for the host */

typedef struct {
  mp_shim_loop *loop;
  mp_shim_source source; /* fd -1: there is no copy */
  char *kept;            /* owned; from `start` on, of MP_SHIM_OUTPUT_KEPT bytes */
  size_t start;
  size_t len;
  uint64_t dropped_bytes;
  uint64_t dropped_lines;
  uint64_t gap_bytes; /* dropped and not yet told */
  uint64_t gap_lines;
  bool torn; /* the last line kept has no end yet */
} mp_shim_output;

/* Set loop. Takes over an fd; a terminal is made to pass bytes as they are. Only the first one
 * counts. */
void mp_shim_output_open(mp_shim_output *output, int fd);
void mp_shim_output_close(mp_shim_output *output);

/* Keeps a line, or with `part` the beginning of one. */
void mp_shim_output_add(mp_shim_output *output, const char *bytes, size_t len, bool part);

/* Writes what can be written now. */
void mp_shim_output_flush(mp_shim_output *output);

#endif
