/* Hashes, incremental or in one call: SHA-256, SHA-512, SHA-1, MD5 and HMAC-SHA-256.
 *
 * The states are plain values: no allocation, no failure, callable from any thread; a copy made by
 * assignment goes on independently. SHA-1 and MD5 are there to read what others wrote with them,
 * not to trust. */
#ifndef MP_CORE_HASH_H
#define MP_CORE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { MP_HASH_SHA256, MP_HASH_SHA512, MP_HASH_SHA1, MP_HASH_MD5 } mp_hash_kind;

#define MP_HASH_MAX 64                        /* bytes of the longest digest */
#define MP_HASH_HEX_MAX (2 * MP_HASH_MAX + 1) /* room for its hex form and a NUL */

typedef struct {
  mp_hash_kind kind;
  uint64_t state[30]; /* the library's context of that kind */
} mp_hash;

/* Finds a kind by its lower-case name ("sha256", "sha512", "sha1", "md5"). */
bool mp_hash_find(const char *name, mp_hash_kind *kind);

const char *mp_hash_name(mp_hash_kind kind);

/* Bytes of a digest of this kind. */
size_t mp_hash_size(mp_hash_kind kind);

void mp_hash_init(mp_hash *hash, mp_hash_kind kind);
void mp_hash_update(mp_hash *hash, const void *bytes, size_t len);

/* Writes the digest (mp_hash_size bytes) and begins anew. */
void mp_hash_final(mp_hash *hash, uint8_t digest[MP_HASH_MAX]);

/* As mp_hash_final, in lower-case hex with a NUL. */
void mp_hash_final_hex(mp_hash *hash, char hex[MP_HASH_HEX_MAX]);

/* The digest of `len` bytes in one call. */
void mp_hash_of(mp_hash_kind kind, const void *bytes, size_t len, uint8_t digest[MP_HASH_MAX]);

/* HMAC with SHA-256 (RFC 2104). */
#define MP_HMAC_SIZE 32

typedef struct {
  uint64_t state[48];
} mp_hmac;

void mp_hmac_init(mp_hmac *hmac, const void *key, size_t len);
void mp_hmac_update(mp_hmac *hmac, const void *bytes, size_t len);
void mp_hmac_final(mp_hmac *hmac, uint8_t digest[MP_HMAC_SIZE]);

/* Writes 2 * len lower-case hex digits and a NUL. */
void mp_hex(const void *bytes, size_t len, char *hex);

/* Compares in a time that depends on `len` alone. */
bool mp_equal_secret(const void *a, const void *b, size_t len);

#endif
