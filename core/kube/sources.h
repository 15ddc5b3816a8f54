/* The files that a client's trust and identity are in, kept in memory and read again when they
 * change (by their stat: cert managers and kubelets replace them). */
#ifndef MP_CORE_KUBE_SOURCES_H
#define MP_CORE_KUBE_SOURCES_H

#include "config.h"
#include "core/buf.h"

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

typedef enum {
  MP_KUBE_CA,
  MP_KUBE_CERT,
  MP_KUBE_KEY,
  MP_KUBE_TOKEN,
  MP_KUBE_SOURCES,
} mp_kube_source_kind;

typedef struct {
  dev_t dev;
  ino_t ino;
  off_t size;
  struct timespec mtime, ctime;
} mp_kube_signature;

typedef struct {
  const char *field;          /* "user.tokenFile" */
  const mp_kube_value *value; /* whose text is the path; NULL: there is no such file */
  bool known;                 /* the signature is that of `bytes` */
  mp_kube_signature signature;
  mp_buf bytes; /* wiped */
} mp_kube_source;

typedef struct {
  mp_kube_source of[MP_KUBE_SOURCES];
} mp_kube_sources;

void mp_kube_sources_init(mp_kube_sources *sources, const mp_kube_config *config);
void mp_kube_sources_free(mp_kube_sources *sources);

/* True where there is any file to look at. */
bool mp_kube_sources_any(const mp_kube_sources *sources);

/* A copy with the same paths and signatures, but no bytes, to be looked at on the pool. */
void mp_kube_sources_sketch(mp_kube_sources *to, const mp_kube_sources *from);

/* Looks at each file and reads what has changed. Blocks; any thread. A file that could not be read
 * before and still cannot be is an error (domain "kube", code "credentials"); of one that could,
 * the last content stays. */
int mp_kube_sources_look(mp_kube_sources *sources, mp_error *err);

/* Moves what was read into *to. True when anything was other than before. */
bool mp_kube_sources_take(mp_kube_sources *to, mp_kube_sources *looked);

#endif
