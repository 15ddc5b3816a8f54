#include "secret.h"

#include "core/error.h"
#include "core/hash.h"
#include "core/mem.h"
#include "core/scrub.h"
#include "errors.h"
#include "gate.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_METATABLE "moonport.secret"

/* User value 1: the reference, a plain table such as {file = "/etc/token"}. */
typedef struct {
  char *value; /* owned; wiped before it is freed */
  size_t len;
  bool encoded; /* the sieve knows the values that it was made from, in this form too */
} secret;

/* A secret that holds nothing yet, pushed: what fails while it is filled leaks nothing. */
static secret *push_empty(lua_State *L) {
  secret *self = lua_newuserdatauv(L, sizeof *self, 1);
  *self = (secret){0};
  luaL_setmetatable(L, SECRET_METATABLE);
  return self;
}

bool mp_is_secret(lua_State *L, int index) {
  return luaL_testudata(L, index, SECRET_METATABLE) != NULL;
}

const char *mp_secret_tolstring(lua_State *L, int index, size_t *len) {
  secret *self = luaL_testudata(L, index, SECRET_METATABLE);
  if (self == NULL)
    return lua_isstring(L, index) ? lua_tolstring(L, index, len) : NULL;
  if (!self->encoded)
    mp_scrub_add(self->value, self->len);
  if (len)
    *len = self->len;
  return self->value;
}

void mp_push_encoded_secret(lua_State *L, const char *bytes, size_t len, const char *encoding) {
  secret *self = push_empty(L);
  self->value = mp_memdup(bytes, len);
  self->len = len;
  self->encoded = true;
  lua_createtable(L, 0, 1);
  lua_pushstring(L, encoding);
  lua_setfield(L, -2, "encoded");
  lua_setiuservalue(L, -2, 1);
}

/* new(value, reference) */
static int l_new(lua_State *L) {
  size_t len;
  const char *value = luaL_checklstring(L, 1, &len);
  luaL_checktype(L, 2, LUA_TTABLE);
  secret *self = push_empty(L);
  self->value = mp_memdup(value, len);
  self->len = len;
  mp_scrub_add(value, len);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

static int secret_gc(lua_State *L) {
  secret *self = luaL_checkudata(L, 1, SECRET_METATABLE);
  if (self->value) {
    explicit_bzero(self->value, self->len);
    free(self->value);
    self->value = NULL;
  }
  return 0;
}

static void push_part_reference(lua_State *L, int index) {
  if (mp_is_secret(L, index)) {
    lua_getiuservalue(L, index, 1);
  } else {
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, index);
    lua_setfield(L, -2, "text");
  }
}

static int secret_concat(lua_State *L) {
  size_t left_len, right_len;
  const char *left = mp_secret_tolstring(L, 1, &left_len);
  const char *right = mp_secret_tolstring(L, 2, &right_len);
  if (left == NULL || right == NULL)
    return luaL_error(L, "attempt to concatenate a secret with a %s value",
                      luaL_typename(L, left ? 2 : 1));
  secret *self = push_empty(L);
  self->value = mp_alloc(left_len + right_len + 1);
  self->len = left_len + right_len;
  memcpy(self->value, left, left_len);
  memcpy(self->value + left_len, right, right_len);
  lua_createtable(L, 0, 1);
  lua_createtable(L, 2, 0);
  push_part_reference(L, 1);
  lua_rawseti(L, -2, 1);
  push_part_reference(L, 2);
  lua_rawseti(L, -2, 2);
  lua_setfield(L, -2, "concat");
  lua_setiuservalue(L, -2, 1);
  return 1;
}

static int secret_tostring(lua_State *L) {
  return mp_raise(L, "secret", "refused",
                  "pass it where secrets are taken: an environment value, a header, a file's body",
                  "a secret cannot be turned into plain text");
}

static int secret_len(lua_State *L) {
  return mp_raise(L, "secret", "refused", NULL, "the length of a secret is not told");
}

static int secret_eq(lua_State *L) {
  secret *left = luaL_checkudata(L, 1, SECRET_METATABLE);
  secret *right = luaL_checkudata(L, 2, SECRET_METATABLE);
  unsigned char difference = left->len != right->len;
  for (size_t i = 0; i < left->len && i < right->len; i++)
    difference |= (unsigned char)(left->value[i] ^ right->value[i]);
  lua_pushboolean(L, difference == 0);
  return 1;
}

static int l_is(lua_State *L) {
  lua_pushboolean(L, mp_is_secret(L, 1));
  return 1;
}

/* reference(secret): what may be stored */
static int l_reference(lua_State *L) {
  luaL_checkudata(L, 1, SECRET_METATABLE);
  lua_getiuservalue(L, 1, 1);
  return 1;
}

/* digest(secret, key): HMAC-SHA-256 in hex, to tell whether a value changed without keeping it */
static int l_digest(lua_State *L) {
  secret *self = luaL_checkudata(L, 1, SECRET_METATABLE);
  size_t key_len;
  const char *key = luaL_checklstring(L, 2, &key_len);
  mp_hmac hmac;
  uint8_t digest[MP_HMAC_SIZE];
  char hex[2 * MP_HMAC_SIZE + 1];
  mp_hmac_init(&hmac, key, key_len);
  mp_hmac_update(&hmac, self->value, self->len);
  mp_hmac_final(&hmac, digest);
  mp_hex(digest, sizeof digest, hex);
  lua_pushstring(L, hex);
  return 1;
}

/* scrub(text): with every revealed secret masked */
static int l_scrub(lua_State *L) {
  size_t len, out_len;
  const char *text = luaL_checklstring(L, 1, &len);
  if (!mp_scrub_needed()) {
    lua_settop(L, 1);
    return 1;
  }
  char *clean = mp_scrub_copy(text, len, &out_len);
  lua_pushlstring(L, clean, out_len);
  free(clean);
  return 1;
}

int luaopen_moonport_secret(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"__gc", secret_gc},   {"__concat", secret_concat}, {"__tostring", secret_tostring},
      {"__len", secret_len}, {"__eq", secret_eq},         {NULL, NULL}};
  static const luaL_Reg functions[] = {{"new", l_new},       {"is", l_is},
                                       {"digest", l_digest}, {"reference", l_reference},
                                       {"scrub", l_scrub},   {NULL, NULL}};
  luaL_newmetatable(L, SECRET_METATABLE);
  luaL_setfuncs(L, methods, 0);
  lua_pushliteral(L, "secret");
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
