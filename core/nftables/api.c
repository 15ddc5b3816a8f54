#include "api.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef struct {
  const char *symbol;
  size_t offset;
} entry;

static const entry nftnl[] = {
#define ENTRY(name) {"nftnl_" #name, offsetof(mp_nft_api, name)},
    MP_NFTNL_FUNCTIONS(ENTRY)
#undef ENTRY
        {NULL, 0}};

static const entry mnl[] = {
#define ENTRY(name) {"mnl_" #name, offsetof(mp_nft_api, mnl_##name)},
    MP_MNL_FUNCTIONS(ENTRY)
#undef ENTRY
        {NULL, 0}};

static int missing(const char *file, const char *package, mp_error *err) {
  mp_error_set(err, "nft", "library", "could not load `%s`: %s", file, dlerror());
  return mp_error_hint(err, "install it; Debian's package is `%s`", package);
}

static int resolve(mp_nft_api *api, const entry *entries, const char *file, const char *package,
                   mp_error *err) {
  void *library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
  if (!library)
    return missing(file, package, err);
  for (const entry *each = entries; each->symbol; each++) {
    void *address = dlsym(library, each->symbol);
    if (!address)
      return missing(file, package, err);
    memcpy((char *)api + each->offset, &address, sizeof address);
  }
  return 0;
}

const mp_nft_api *mp_nft_load(mp_error *err) {
  static mp_nft_api table;
  static const mp_nft_api *loaded;
  if (!loaded && resolve(&table, mnl, "libmnl.so.0", "libmnl0", err) == 0 &&
      resolve(&table, nftnl, "libnftnl.so.11", "libnftnl11", err) == 0)
    loaded = &table;
  return loaded;
}
