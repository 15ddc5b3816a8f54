#include "registration.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void put_string(FILE *out, const char *text) {
  fputc('"', out);
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\')
      fprintf(out, "\\%c", c);
    else if (c < ' ')
      fprintf(out, "\\u%04x", c);
    else
      fputc(c, out);
  }
  fputc('"', out);
}

static void put_payload(FILE *out, const config *c) {
  fprintf(out, "{\"blueprint\":\"incredible-squaring\",\"version\":\"%s\"", SQUARING_VERSION);
  fprintf(out, ",\"blueprint_id\":%" PRIu64 ",\"service_id\":%" PRIu64, c->blueprint_id,
          c->service_id);
  fputs(",\"protocol\":", out);
  put_string(out, c->protocol);
  fputs(",\"chain\":", out);
  put_string(out, c->chain);
  fputs(",\"inputs\":[]}\n", out);
}

int registration_write(const config *c, reason *why) {
  const char *path = c->registration_output_path;
  char temporary[PATH_MAX];
  if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
    return because(why, "REGISTRATION_OUTPUT_PATH is too long");
  int fd = mkostemp(temporary, O_CLOEXEC);
  FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
  if (out == NULL)
    return because_errno(why, "cannot write beside `%s`", path);
  put_payload(out, c);
  bool written = fflush(out) == 0 && fsync(fd) == 0;
  written = fclose(out) == 0 && written && rename(temporary, path) == 0;
  if (written)
    return 0;
  because_errno(why, "cannot write `%s`", path);
  unlink(temporary);
  return -1;
}
