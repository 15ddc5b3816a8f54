/* The file that a download is written to until it is whole: `<path>.part`, with `<path>.part.info`.
 * Private to the http module. Everything that blocks runs on the pool, one call at a time. */
#ifndef MP_CORE_HTTP_PART_H
#define MP_CORE_HTTP_PART_H

#include "error.h"
#include "hash.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
  char *path, *part, *info; /* owned */
  int fd;
  uint64_t size;         /* bytes in the part, all of them hashed */
  char *validator;       /* owned; of the part that is there; NULL: none known */
  char *sha256, *sha512; /* owned; what the digests have to be; NULL: anything */
  mp_hash hash256, hash512;
  atomic_bool stop; /* set from any thread: ends long work with MP_CANCELLED */
} mp_http_part;

void mp_http_part_init(mp_http_part *part, const char *path, const char *sha256,
                       const char *sha512);

/* Blocks. Opens and locks; with `resume` keeps what is there for this URL, else empties it. */
int mp_http_part_open(mp_http_part *part, const char *url, bool resume, mp_error *err);

/* Blocks. Empties the part. */
int mp_http_part_restart(mp_http_part *part, mp_error *err);

/* Blocks. Remembers where the part comes from. validator: may be NULL. */
int mp_http_part_note(mp_http_part *part, const char *url, const char *validator, mp_error *err);

/* Blocks. Adds bytes and hashes them. */
int mp_http_part_append(mp_http_part *part, const void *bytes, size_t len, mp_error *err);

/* Blocks. Verifies, syncs, and puts the file in its place. */
int mp_http_part_finish(mp_http_part *part, mp_error *err);

/* Blocks. Closes; removes the part and its info unless `keep`. */
void mp_http_part_close(mp_http_part *part, bool keep);

void mp_http_part_free(mp_http_part *part);

#endif
