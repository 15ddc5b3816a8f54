/* Log lines on stderr: logfmt for machines, or with `--pretty` a shorter form for people. */
#ifndef SQUARING_LOG_H
#define SQUARING_LOG_H

#include <stdbool.h>

typedef enum { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE } log_level;

/* verbose: 0 shows up to LOG_INFO, 1 (-v) up to LOG_DEBUG, 2 (-vv) and more up to LOG_TRACE. */
void log_setup(int verbose, bool pretty);

/* Writes one line in a single write, so lines of several processes do not mix. */
void log_line(log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
