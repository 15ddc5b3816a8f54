/* A line of QMP, and what is taken out of it. */
#include "core/vm/qmp_message.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check_part(mp_qmp_part part, const char *line, size_t len) {
  if (part.text && (part.text < line || part.len > len || part.text + part.len > line + len))
    abort();
}

static void read_string(mp_qmp_part value) {
  char *text = mp_qmp_string(value);
  if (text && strlen(text) > value.len)
    abort();
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const names[] = {"class", "desc", "a", "", "seconds"};
  mp_qmp_message message;
  mp_error err = MP_ERROR_INIT;
  char *line = malloc(size ? size : 1); /* exactly as long as it is, for the sanitizer */
  memcpy(line, data, size);
  if (mp_qmp_parse(line, size, &message, &err) == 0) {
    check_part(message.body, line, size);
    check_part(message.name, line, size);
    read_string(message.body);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
      mp_qmp_part member = mp_qmp_member(message.body, names[i]);
      check_part(member, line, size);
      read_string(member);
    }
    if (message.kind == MP_QMP_FAILURE)
      mp_qmp_failure(message.body, "x", &err);
  }
  mp_error_reset(&err);
  free(line);
  return 0;
}
