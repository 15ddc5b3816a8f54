#include "wslay_api.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define LIBRARY "libwslay.so.1"

static const struct {
  const char *symbol;
  size_t offset;
} functions[] = {
#define ENTRY(name) {"wslay_event_" #name, offsetof(mp_wslay_api, name)},
    MP_WSLAY_FUNCTIONS(ENTRY)
#undef ENTRY
};

static int missing(mp_error *err) {
  mp_error_set(err, "websocket", "library", "could not load `%s`: %s", LIBRARY, dlerror());
  return mp_error_hint(err, "install it; Debian's package is `libwslay1`");
}

static int load(mp_wslay_api *api, mp_error *err) {
  void *library = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
  if (!library)
    return missing(err);
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *address = dlsym(library, functions[i].symbol);
    if (!address)
      return missing(err);
    memcpy((char *)api + functions[i].offset, &address, sizeof address);
  }
  return 0;
}

const mp_wslay_api *mp_wslay_load(mp_error *err) {
  static mp_wslay_api table;
  static const mp_wslay_api *loaded;
  if (!loaded && load(&table, err) == 0)
    loaded = &table;
  return loaded;
}
