/* Downloads: a URL streamed into a file that appears whole or not at all.
 *
 * The bytes go to `<path>.part`, are hashed on the way, synced, and renamed to `path` at the end,
 * so `path` never shows a part or an unchecked file. With `resume` a part that was left by an
 * earlier try is continued: `<path>.part.info` holds the URL's digest and the server's validator
 * (ETag or Last-Modified), and the server is asked for the rest only if that still holds
 * (If-Range); where it gave none, a part is continued only if a checksum will be verified.
 *
 * On failure the part stays only if it can be of use: with `resume`, unless the checksum or the
 * size limit was what failed. A part is locked while it is written: a second download to the same
 * path fails with the code "busy". File work and hashing run on the thread pool. */
#ifndef MP_CORE_HTTP_DOWNLOAD_H
#define MP_CORE_HTTP_DOWNLOAD_H

#include "http.h"

typedef struct {
  /* How to ask. Method, body, stream, max_body and compressed are the download's own affair. */
  mp_http_options request;
  const char *path;
  const char *sha256, *sha512; /* hex in any case; NULL: not checked */
  bool resume;
  uint64_t max_size; /* bytes; 0: no limit */
  /* Called on the loop whenever bytes were written; total: -1 while it is unknown. May be NULL. */
  void (*on_progress)(void *data, uint64_t done, int64_t total);
} mp_http_download_options;

typedef struct {
  uint64_t size;    /* of the file */
  uint64_t resumed; /* bytes of it that were there from before */
  const char *url;  /* after redirects */
} mp_http_download_result;

/* Exactly one of result and err is there; both are borrowed. */
typedef void (*mp_http_download_cb)(void *data, const mp_http_download_result *result,
                                    const mp_error *err);

/* What `options` points to is borrowed during the call only. A status other than success is an
 * error with the code "status"; a wrong digest has the code "checksum". */
int mp_http_download(mp_loop *loop, const mp_http_download_options *options, mp_http_download_cb cb,
                     void *data, mp_op **op, mp_error *err);

#endif
