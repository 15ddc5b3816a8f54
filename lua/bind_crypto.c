/*** Hashes, keyed hashes, random bytes, and bytes as text.
 *
 *     print(crypto.hash("sha256", "hello"))
 *     local token = crypto.hex(crypto.random(16))
 * @module moonport.crypto
 */
#include "bind_crypto.h"

#include "core/encode.h"
#include "core/hash.h"
#include "core/mem.h"
#include "errors.h"
#include "secret.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mp_hash_kind check_kind(lua_State *L, int index) {
  mp_hash_kind kind;
  const char *name = luaL_checkstring(L, index);
  if (!mp_hash_find(name, &kind))
    mp_raise(L, "crypto", MP_INVALID, "one of: sha256, sha512, sha1, md5",
             "there is no hash named `%s`", name);
  return kind;
}

/* A string, or a secret: what comes out of a hash does not reveal it. */
static const char *check_bytes(lua_State *L, int index, size_t *len) {
  const char *bytes = mp_secret_tolstring(L, index, len);
  if (bytes == NULL)
    luaL_checklstring(L, index, len);
  return bytes;
}

/*** Hashes bytes.
 * @function hash
 * @tparam string algorithm "sha256", "sha512", "sha1" or "md5"; the last two are for reading what
 *   others wrote, not to be trusted
 * @tparam string|secret bytes
 * @treturn string the digest in hex
 */
static int l_hash(lua_State *L) {
  size_t len;
  mp_hash hash;
  char hex[MP_HASH_HEX_MAX];
  mp_hash_kind kind = check_kind(L, 1);
  const char *bytes = check_bytes(L, 2, &len);
  mp_hash_init(&hash, kind);
  mp_hash_update(&hash, bytes, len);
  mp_hash_final_hex(&hash, hex);
  lua_pushstring(L, hex);
  return 1;
}

/*** A keyed hash (HMAC, RFC 2104) with SHA-256.
 * @function hmac
 * @tparam string algorithm "sha256"
 * @tparam string|secret key
 * @tparam string|secret bytes
 * @treturn string the digest in hex
 */
static int l_hmac(lua_State *L) {
  size_t key_len, len;
  if (check_kind(L, 1) != MP_HASH_SHA256)
    return mp_raise(L, "crypto", MP_INVALID, NULL, "hmac knows sha256 only");
  const char *key = check_bytes(L, 2, &key_len);
  const char *bytes = check_bytes(L, 3, &len);
  mp_hmac hmac;
  uint8_t digest[MP_HMAC_SIZE];
  char hex[2 * MP_HMAC_SIZE + 1];
  mp_hmac_init(&hmac, key, key_len);
  mp_hmac_update(&hmac, bytes, len);
  mp_hmac_final(&hmac, digest);
  mp_hex(digest, sizeof digest, hex);
  lua_pushstring(L, hex);
  return 1;
}

/* Hashing a file, on the pool. */

typedef struct {
  mp_wait wait;
  char *path; /* owned */
  mp_hash_kind kind;
  char hex[MP_HASH_HEX_MAX];
  atomic_bool stop;
} file_wait;

static int hash_fd(file_wait *self, int fd) {
  enum { BLOCK = 256 * 1024 };
  mp_auto_free char *block = mp_alloc(BLOCK);
  mp_hash hash;
  mp_hash_init(&hash, self->kind);
  while (!atomic_load(&self->stop)) {
    ssize_t got = read(fd, block, BLOCK);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return mp_error_errno(&self->wait.error, "fs", errno, "could not read `%s`", self->path);
    if (got == 0) {
      mp_hash_final_hex(&hash, self->hex);
      return 0;
    }
    mp_hash_update(&hash, block, (size_t)got);
  }
  return mp_error_set(&self->wait.error, "task", MP_CANCELLED, "cancelled");
}

static void file_work(void *data) {
  file_wait *self = data;
  int fd = open(self->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    mp_error_errno(&self->wait.error, "fs", errno, "could not open `%s`", self->path);
    return;
  }
  hash_fd(self, fd);
  close(fd);
}

static void file_done(void *data, bool cancelled) {
  file_wait *self = data;
  if (cancelled)
    mp_wait_cancelled(&self->wait);
  mp_wait_done(&self->wait);
}

static void file_cancel(mp_wait *wait) {
  file_wait *self = (file_wait *)wait;
  atomic_store(&self->stop, true);
  if (wait->op)
    mp_op_cancel(wait->op);
}

static void file_release(mp_wait *wait) {
  free(((file_wait *)wait)->path);
}

static int file_finish(lua_State *L, mp_wait *wait) {
  lua_pushstring(L, ((file_wait *)wait)->hex);
  return 1;
}

/*** Hashes a file without holding it in memory.
 * @function hash_file
 * @tparam string algorithm as for @{hash}
 * @tparam string path
 * @treturn string the digest in hex
 * @raise {kind="fs", code=errno name}
 */
static int l_hash_file(lua_State *L) {
  mp_hash_kind kind = check_kind(L, 1);
  const char *path = luaL_checkstring(L, 2);
  file_wait *self = mp_wait_new(L, sizeof *self, "crypto.hash_file", file_finish);
  self->path = mp_strdup(path);
  self->kind = kind;
  self->wait.release = file_release;
  self->wait.cancel = file_cancel;
  self->wait.op = mp_work_start(mp_loop_of(L), file_work, file_done, self);
  return mp_wait_yield(L, &self->wait);
}

/*** Random bytes from the kernel's generator.
 * @function random
 * @tparam integer count up to 1 MiB
 * @treturn string
 */
static int l_random(lua_State *L) {
  lua_Integer count = luaL_checkinteger(L, 1);
  if (count < 0 || count > 1024 * 1024)
    return mp_bad_argument(L, "crypto.random gives 0 to 1048576 bytes, not %lld", (long long)count);
  luaL_Buffer bytes;
  mp_random(luaL_buffinitsize(L, &bytes, (size_t)count), (size_t)count);
  luaL_pushresultsize(&bytes, (size_t)count);
  return 1;
}

/*** A random UUID (RFC 4122, version 4).
 * @function uuid
 * @treturn string
 */
static int l_uuid(lua_State *L) {
  char uuid[MP_UUID_SIZE];
  mp_uuid4(uuid);
  lua_pushstring(L, uuid);
  return 1;
}

static int push_buf(lua_State *L, mp_buf *out) {
  lua_pushlstring(L, out->data ? out->data : "", out->len);
  mp_buf_free(out);
  return 1;
}

/*** Bytes as lower-case hexadecimal.
 * @function hex
 * @tparam string bytes
 * @treturn string
 */
static int l_hex(lua_State *L) {
  size_t len;
  const char *bytes = luaL_checklstring(L, 1, &len);
  mp_buf out = MP_BUF_INIT;
  mp_hex_encode(&out, bytes, len);
  return push_buf(L, &out);
}

/*** Bytes as base64 (RFC 4648).
 * @function base64
 * @tparam string|secret bytes
 * @tparam[opt=false] boolean url the URL-safe alphabet, without padding
 * @treturn string|secret a secret's is a secret
 */
static int l_base64(lua_State *L) {
  size_t len;
  const char *bytes = check_bytes(L, 1, &len);
  mp_buf out = MP_BUF_INIT;
  mp_base64_encode(&out, bytes, len, lua_toboolean(L, 2));
  if (!mp_is_secret(L, 1))
    return push_buf(L, &out);
  mp_push_encoded_secret(L, out.data, out.len, "base64");
  mp_buf_wipe(&out);
  return 1;
}

typedef int (*decoder)(mp_buf *out, const char *text, size_t len, mp_error *err);

static int decode(lua_State *L, decoder decode_text) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  mp_buf out = MP_BUF_INIT;
  mp_error err = MP_ERROR_INIT;
  if (decode_text(&out, text, len, &err) < 0) {
    mp_buf_free(&out);
    return mp_throw(L, &err);
  }
  return push_buf(L, &out);
}

/*** The bytes that hexadecimal text spells.
 * @function unhex
 * @tparam string text
 * @treturn string
 * @raise {kind="encode", code="invalid"}
 */
static int l_unhex(lua_State *L) {
  return decode(L, mp_hex_decode);
}

/*** The bytes that base64 text spells: either alphabet, padding optional, white space ignored.
 * @function unbase64
 * @tparam string text
 * @treturn string
 * @raise {kind="encode", code="invalid"}
 */
static int l_unbase64(lua_State *L) {
  return decode(L, mp_base64_decode);
}

/*** Compares in a time that does not tell where two texts differ.
 * @function equal
 * @tparam string|secret a
 * @tparam string|secret b
 * @treturn boolean
 */
static int l_equal(lua_State *L) {
  size_t a_len, b_len;
  const char *a = check_bytes(L, 1, &a_len);
  const char *b = check_bytes(L, 2, &b_len);
  lua_pushboolean(L, a_len == b_len && mp_equal_secret(a, b, a_len));
  return 1;
}

int luaopen_moonport_crypto(lua_State *L) {
  static const luaL_Reg functions[] = {{"hash", l_hash},   {"hash_file", l_hash_file},
                                       {"hmac", l_hmac},   {"random", l_random},
                                       {"uuid", l_uuid},   {"hex", l_hex},
                                       {"unhex", l_unhex}, {"base64", l_base64},
                                       {"equal", l_equal}, {"unbase64", l_unbase64},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
