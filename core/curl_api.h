/* libcurl, loaded on first use.
 *
 * Loading libcurl and what it stands on takes 4 to 8 ms, as much as the whole start of a script,
 * and most commands never speak HTTP. So nothing links it: this table is filled with dlopen and
 * dlsym when the first request is made. Its members are libcurl's functions without their `curl_`.
 */
#ifndef MP_CORE_CURL_API_H
#define MP_CORE_CURL_API_H

#include "error.h"

#include <curl/curl.h>

#define MP_CURL_FUNCTIONS(X)                                                                       \
  X(global_init)                                                                                   \
  X(version_info)                                                                                  \
  X(free)                                                                                          \
  X(easy_init)                                                                                     \
  X(easy_setopt)                                                                                   \
  X(easy_getinfo)                                                                                  \
  X(easy_reset)                                                                                    \
  X(easy_pause)                                                                                    \
  X(easy_send)                                                                                     \
  X(easy_recv)                                                                                     \
  X(easy_strerror)                                                                                 \
  X(easy_cleanup)                                                                                  \
  X(multi_init)                                                                                    \
  X(multi_setopt)                                                                                  \
  X(multi_add_handle)                                                                              \
  X(multi_remove_handle)                                                                           \
  X(multi_socket_action)                                                                           \
  X(multi_info_read)                                                                               \
  X(multi_strerror)                                                                                \
  X(multi_cleanup)                                                                                 \
  X(url)                                                                                           \
  X(url_set)                                                                                       \
  X(url_get)                                                                                       \
  X(url_cleanup)

typedef struct {
#define MP_CURL_MEMBER(name) __typeof__(&curl_##name) name;
  MP_CURL_FUNCTIONS(MP_CURL_MEMBER)
#undef MP_CURL_MEMBER
  /* That of the OpenSSL which libcurl stands on; NULL where it is another library. */
  long (*ssl_ctx_ctrl)(void *context, int command, long number, void *pointer);
} mp_curl_api;

/* The table, loaded and initialised once per process; NULL and an error (domain "http", code
 * "library") where libcurl is missing or too old. Loop thread only. */
const mp_curl_api *mp_curl_load(mp_error *err);

/* Begins to load it on a thread of its own, for who will soon need it and has other things to do
 * first. mp_curl_load waits for the end of that; so must whoever ends the program without having
 * called it (mp_curl_settle). Loop thread only. */
void mp_curl_prepare(void);
void mp_curl_settle(void);

#endif
