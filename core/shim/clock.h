/* The two clocks: monotonic for deadlines, wall time for records. */
#ifndef MP_SHIM_CLOCK_H
#define MP_SHIM_CLOCK_H

#include <stdint.h>
#include <time.h>

enum { MP_SHIM_TIMESTAMP_LEN = 30 };

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t mp_shim_now_ms(void);

struct timespec mp_shim_wall_time(void);

/* RFC 3339 in UTC with nine digits of fraction, "2016-10-06T00:17:09.669794202Z": always
 * MP_SHIM_TIMESTAMP_LEN characters. */
void mp_shim_timestamp(struct timespec at, char out[MP_SHIM_TIMESTAMP_LEN + 1]);

#endif
