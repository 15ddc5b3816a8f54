#include "curl_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LIBRARY "libcurl.so.4" /* the name has been stable since 2006 */
#define OLDEST 0x075500        /* 7.85: options that name protocols as text */

static const struct {
  const char *symbol;
  size_t offset;
} functions[] = {
#define ENTRY(name) {"curl_" #name, offsetof(mp_curl_api, name)},
    MP_CURL_FUNCTIONS(ENTRY)
#undef ENTRY
};

static int missing(mp_error *err, const char *reason) {
  mp_error_set(err, "http", "library", "could not load `%s`: %s", LIBRARY, reason);
  return mp_error_hint(err, "install it; Debian's package is `libcurl4`");
}

static int resolve(mp_curl_api *api, void *library, mp_error *err) {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *address = dlsym(library, functions[i].symbol);
    if (!address)
      return missing(err, dlerror());
    memcpy((char *)api + functions[i].offset, &address, sizeof address);
  }
  return 0;
}

/* Found among what libcurl has loaded for itself. */
static void resolve_openssl(mp_curl_api *api, void *library, const char *version) {
  static const char openssl[] = "OpenSSL/";
  if (!version || strncmp(version, openssl, sizeof openssl - 1) != 0)
    return;
  void *address = dlsym(library, "SSL_CTX_ctrl");
  memcpy(&api->ssl_ctx_ctrl, &address, sizeof address);
}

static int load(mp_curl_api *api, mp_error *err) {
  void *library = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
  if (!library)
    return missing(err, dlerror());
  if (resolve(api, library, err) < 0)
    return -1;
  const curl_version_info_data *info = api->version_info(CURLVERSION_NOW);
  if (info->version_num < OLDEST) {
    mp_error_set(err, "http", "library", "`%s` is version %s", LIBRARY, info->version);
    return mp_error_hint(err, "version 7.85 or newer is needed");
  }
  resolve_openssl(api, library, info->ssl_version);
  CURLcode rc = api->global_init(CURL_GLOBAL_DEFAULT);
  return rc == CURLE_OK ? 0 : missing(err, api->easy_strerror(rc));
}

static mp_curl_api table;
static const mp_curl_api *loaded;

/* The thread that loads it, if one does. */
static pthread_t loader;
static bool loading;

static void *load_ahead(void *data) {
  (void)data;
  mp_auto_error mp_error ignored = MP_ERROR_INIT; /* who needs it will meet it again */
  return load(&table, &ignored) == 0 ? &table : NULL;
}

void mp_curl_prepare(void) {
  sigset_t all, before;
  if (loaded || loading)
    return;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the loop's thread */
  loading = pthread_create(&loader, NULL, load_ahead, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void mp_curl_settle(void) {
  void *result = NULL;
  if (!loading)
    return;
  pthread_join(loader, &result);
  loading = false;
  loaded = result;
}

const mp_curl_api *mp_curl_load(mp_error *err) {
  mp_curl_settle();
  if (!loaded && load(&table, err) == 0)
    loaded = &table; /* for good: libcurl and OpenSSL do not like being unloaded */
  return loaded;
}
