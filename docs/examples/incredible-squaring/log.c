#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static log_level shown = LOG_INFO;
static bool for_people;

static const char *const names[] = {"error", "warn", "info", "debug", "trace"};

void log_setup(int verbose, bool pretty) {
  shown = verbose >= 2 ? LOG_TRACE : verbose == 1 ? LOG_DEBUG : LOG_INFO;
  for_people = pretty;
}

/* What came from outside (a server's error text, a path) must not start a line of its own. */
static void blunt(char *text, bool quoted) {
  for (char *at = text; *at != '\0'; at++) {
    if ((unsigned char)*at < ' ' || *at == 0x7f)
      *at = ' ';
    else if (quoted && (*at == '"' || *at == '\\'))
      *at = '\'';
  }
}

void log_line(log_level level, const char *format, ...) {
  if (level > shown)
    return;
  char message[512], line[640];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  blunt(message, !for_people);

  struct timespec now;
  struct tm utc;
  char stamp[32];
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  strftime(stamp, sizeof stamp, for_people ? "%H:%M:%S" : "%Y-%m-%dT%H:%M:%S", &utc);
  int len = for_people ? snprintf(line, sizeof line, "%s %-5s %s\n", stamp, names[level], message)
                       : snprintf(line, sizeof line, "time=%s.%03ldZ level=%s msg=\"%s\"\n", stamp,
                                  now.tv_nsec / 1000000, names[level], message);
  /* Where a log line cannot be written there is nowhere left to say so. */
  if (write(STDERR_FILENO, line, (size_t)len) < 0)
    return;
}
