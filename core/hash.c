#include "hash.h"

#include <nettle/hmac.h>
#include <nettle/md5.h>
#include <nettle/memops.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <string.h>

/* The header keeps nettle's types out of every includer; this keeps its room for them honest. */
_Static_assert(sizeof(struct sha512_ctx) <= sizeof(((mp_hash *)0)->state), "mp_hash is too small");
_Static_assert(sizeof(struct sha256_ctx) <= sizeof(((mp_hash *)0)->state), "mp_hash is too small");
_Static_assert(sizeof(struct hmac_sha256_ctx) <= sizeof(mp_hmac), "mp_hmac is too small");

static const struct nettle_hash *const algorithms[] = {
    [MP_HASH_SHA256] = &nettle_sha256,
    [MP_HASH_SHA512] = &nettle_sha512,
    [MP_HASH_SHA1] = &nettle_sha1,
    [MP_HASH_MD5] = &nettle_md5,
};

bool mp_hash_find(const char *name, mp_hash_kind *kind) {
  for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
    if (strcmp(algorithms[i]->name, name) == 0) {
      *kind = (mp_hash_kind)i;
      return true;
    }
  }
  return false;
}

const char *mp_hash_name(mp_hash_kind kind) {
  return algorithms[kind]->name;
}

size_t mp_hash_size(mp_hash_kind kind) {
  return algorithms[kind]->digest_size;
}

void mp_hash_init(mp_hash *hash, mp_hash_kind kind) {
  hash->kind = kind;
  algorithms[kind]->init(hash->state);
}

void mp_hash_update(mp_hash *hash, const void *bytes, size_t len) {
  algorithms[hash->kind]->update(hash->state, len, bytes);
}

void mp_hash_final(mp_hash *hash, uint8_t digest[MP_HASH_MAX]) {
  const struct nettle_hash *algorithm = algorithms[hash->kind];
  algorithm->digest(hash->state, algorithm->digest_size, digest);
}

void mp_hash_final_hex(mp_hash *hash, char hex[MP_HASH_HEX_MAX]) {
  uint8_t digest[MP_HASH_MAX];
  mp_hash_final(hash, digest);
  mp_hex(digest, mp_hash_size(hash->kind), hex);
}

void mp_hash_of(mp_hash_kind kind, const void *bytes, size_t len, uint8_t digest[MP_HASH_MAX]) {
  mp_hash hash;
  mp_hash_init(&hash, kind);
  mp_hash_update(&hash, bytes, len);
  mp_hash_final(&hash, digest);
}

void mp_hmac_init(mp_hmac *hmac, const void *key, size_t len) {
  hmac_sha256_set_key((struct hmac_sha256_ctx *)hmac->state, len, key);
}

void mp_hmac_update(mp_hmac *hmac, const void *bytes, size_t len) {
  hmac_sha256_update((struct hmac_sha256_ctx *)hmac->state, len, bytes);
}

void mp_hmac_final(mp_hmac *hmac, uint8_t digest[MP_HMAC_SIZE]) {
  hmac_sha256_digest((struct hmac_sha256_ctx *)hmac->state, MP_HMAC_SIZE, digest);
}

void mp_hex(const void *bytes, size_t len, char *hex) {
  static const char digits[] = "0123456789abcdef";
  const uint8_t *from = bytes;
  for (size_t i = 0; i < len; i++) {
    *hex++ = digits[from[i] >> 4];
    *hex++ = digits[from[i] & 15];
  }
  *hex = '\0';
}

bool mp_equal_secret(const void *a, const void *b, size_t len) {
  return memeql_sec(a, b, len);
}
