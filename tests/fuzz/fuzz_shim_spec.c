/* The spec of a service, from any bytes: refused with a code and one printable line, or whole. */
#include "core/shim/spec.h"

#include <stdlib.h>
#include <string.h>

#define check(condition)                                                                           \
  do {                                                                                             \
    if (!(condition))                                                                              \
      abort();                                                                                     \
  } while (0)

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  mp_shim_spec spec;
  mp_shim_error err;
  char *bytes = malloc(size ? size : 1);
  memcpy(bytes, data, size);
  if (mp_shim_spec_parse(&spec, bytes, size, &err) < 0) {
    check(err.code[0] != '\0' && strpbrk(err.message, "\r\n\x1b") == NULL);
    check(spec.bytes == NULL && spec.argv == NULL);
    return 0;
  }
  check(spec.argc > 0 && spec.argv[spec.argc] == NULL && spec.envp[spec.envc] == NULL);
  check(strchr(spec.exe, '/') != NULL && spec.cwd[0] == '/');
  for (size_t i = 0; i < spec.envc; i++)
    check(strchr(spec.envp[i], '=') > spec.envp[i]);
  check(spec.backoff_initial_ms <= spec.backoff_max_ms && spec.stop_signal > 0);
  mp_shim_spec_free(&spec);
  return 0;
}
