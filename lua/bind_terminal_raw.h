/* The terminal as a stream of bytes. */
#ifndef MP_LUA_BIND_TERMINAL_RAW_H
#define MP_LUA_BIND_TERMINAL_RAW_H

#include <lua.h>

/* raw(): a stream of the terminal behind standard input, which passes every key on from here. One
 * at a time. Raises {kind="terminal"}. */
int mp_terminal_raw(lua_State *L);

/* cooked(): the terminal as it was before raw(). Fine when it is. */
int mp_terminal_cooked(lua_State *L);

#endif
