#include "metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct {
  char *out;
  size_t len;
} page;

static void put(page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(page *p, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int more = vsnprintf(p->out + p->len, METRICS_SIZE - p->len, format, args);
  va_end(args);
  p->len += (size_t)more < METRICS_SIZE - p->len ? (size_t)more : 0;
}

static void describe(page *p, const char *name, const char *type, const char *help) {
  put(p, "# HELP incredible_squaring_%s %s\n", name, help);
  put(p, "# TYPE incredible_squaring_%s %s\n", name, type);
}

static void sample(page *p, const char *name, const char *labels, uint64_t value) {
  put(p, "incredible_squaring_%s%s %" PRIu64 "\n", name, labels, value);
}

static void metric(page *p, const char *name, const char *type, const char *help, uint64_t value) {
  describe(p, name, type, help);
  sample(p, name, "", value);
}

size_t metrics_render(char out[METRICS_SIZE], const metrics *m) {
  page p = {out, 0};
  metric(&p, "node_up", "gauge", "Whether the last poll of the node succeeded.", m->up);
  metric(&p, "head_block", "gauge", "Newest block number the node has told.", m->head);
  metric(&p, "last_squared_block", "gauge", "Newest block number squared.", m->last_squared);
  metric(&p, "squares_total", "counter", "Block numbers squared since the start.", m->squares);
  metric(&p, "skipped_blocks_total", "counter", "Block numbers given up in a long gap.",
         m->skipped);
  describe(&p, "polls_total", "counter", "Polls of the node by result.");
  sample(&p, "polls_total", "{result=\"ok\"}", m->polls_ok);
  sample(&p, "polls_total", "{result=\"failed\"}", m->polls_failed);
  metric(&p, "connections_total", "counter", "Connections to the node, also those that failed.",
         m->connections);
  metric(&p, "write_failures_total", "counter", "Appends to squares.log that failed.",
         m->write_failures);
  metric(&p, "start_time_seconds", "gauge", "When the process started, in Unix time.",
         (uint64_t)m->start_time);
  return p.len;
}
