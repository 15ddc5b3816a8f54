/* mp.crypto: hashes, random bytes, text encodings. */
#ifndef MP_LUA_BIND_CRYPTO_H
#define MP_LUA_BIND_CRYPTO_H

#include <lua.h>

/* The module `moonport.crypto`. */
int luaopen_moonport_crypto(lua_State *L);

#endif
