/* Secrets: values that must not be shown.
 *
 * A secret is a userdata that holds the value outside of Lua's reach and a reference that may be
 * stored ({file=...}, {env=...}, {command=...}). Concatenation gives a secret; tostring and every
 * encoder raise. Only parameters meant for it reveal the value. */
#ifndef MP_LUA_SECRET_H
#define MP_LUA_SECRET_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* True when the value at `index` is a secret. */
bool mp_is_secret(lua_State *L, int index);

/* As lua_tolstring for a parameter that may reveal: a string (or number) gives itself; a secret
 * gives its value, which from then on is scrubbed from all output. NULL for anything else. The
 * bytes are valid while the value stays on the stack. */
const char *mp_secret_tolstring(lua_State *L, int index, size_t *len);

/* Pushes a secret made from others by an encoding of their values, so that what is to be hidden of
 * it is known already. Its reference cannot be resolved again: it is {encoded = encoding}. */
void mp_push_encoded_secret(lua_State *L, const char *bytes, size_t len, const char *encoding);

/* The module `moonport.core.secret`. */
int luaopen_moonport_secret(lua_State *L);

#endif
