#include "clock.h"

#include <stdio.h>

int64_t mp_shim_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct timespec mp_shim_wall_time(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now;
}

void mp_shim_timestamp(struct timespec at, char out[MP_SHIM_TIMESTAMP_LEN + 1]) {
  struct tm utc;
  gmtime_r(&at.tv_sec, &utc);
  /* The moduli bound each field for the compiler and keep the width for any clock. */
  snprintf(out, MP_SHIM_TIMESTAMP_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ",
           (unsigned)(utc.tm_year + 1900) % 10000, (unsigned)(utc.tm_mon + 1) % 100,
           (unsigned)utc.tm_mday % 100, (unsigned)utc.tm_hour % 100, (unsigned)utc.tm_min % 100,
           (unsigned)utc.tm_sec % 100, (unsigned)at.tv_nsec % 1000000000);
}
