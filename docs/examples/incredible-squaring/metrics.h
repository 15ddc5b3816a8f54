/* What the service counts, in the Prometheus text format (version 0.0.4). */
#ifndef SQUARING_METRICS_H
#define SQUARING_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  bool ready; /* the node has answered at least once */
  bool up;    /* ... and did so the last time it was asked */
  uint64_t head;
  uint64_t last_squared;
  uint64_t squares; /* since this process started */
  uint64_t skipped;
  uint64_t polls_ok, polls_failed;
  uint64_t connections;
  uint64_t write_failures;
  int64_t start_time; /* Unix seconds */
} metrics;

#define METRICS_SIZE 4096

/* Returns the length of what was written to `out`. */
size_t metrics_render(char out[METRICS_SIZE], const metrics *m);

#endif
