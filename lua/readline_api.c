#include "readline_api.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define LIBRARY "libreadline.so.8"

static const struct {
  const char *symbol;
  size_t offset;
} members[] = {
#define ENTRY(name) {#name, offsetof(mp_readline_api, name)},
    MP_READLINE_FUNCTIONS(ENTRY) MP_READLINE_VARIABLES(ENTRY)
#undef ENTRY
};

static int missing(mp_error *err) {
  mp_error_set(err, "readline", "library", "could not load `%s`: %s", LIBRARY, dlerror());
  return mp_error_hint(err, "install it; Debian's package is `libreadline8`");
}

static int load(mp_readline_api *api, mp_error *err) {
  void *library = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
  if (!library)
    return missing(err);
  for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
    void *address = dlsym(library, members[i].symbol);
    if (!address)
      return missing(err);
    memcpy((char *)api + members[i].offset, &address, sizeof address);
  }
  return 0;
}

const mp_readline_api *mp_readline_load(mp_error *err) {
  static mp_readline_api table;
  static const mp_readline_api *loaded;
  if (!loaded && load(&table, err) == 0)
    loaded = &table;
  return loaded;
}
