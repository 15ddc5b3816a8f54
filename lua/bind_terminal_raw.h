/* The terminal as a stream of bytes. */
#ifndef MP_LUA_BIND_TERMINAL_RAW_H
#define MP_LUA_BIND_TERMINAL_RAW_H

#include <lua.h>

/* raw(): a stream of the terminal behind standard input, which passes every key on from here. One
 * at a time. Raises {kind="terminal"}. */
int mp_terminal_raw(lua_State *L);

/* cooked(): the terminal as it was before raw(). Fine when it is. */
int mp_terminal_cooked(lua_State *L);

/* open(path): a stream of another terminal, such as a virtual machine's console, which passes bytes
 * as they are. Raises {kind="terminal"}: an errno name, "refused" when it is no terminal. */
int mp_terminal_open(lua_State *L);

/* resize(stream, rows, columns): the size of a terminal that open() gave. */
int mp_terminal_resize(lua_State *L);

#endif
