/* What the standard streams lead to. */
#ifndef MP_LUA_BIND_TERMINAL_H
#define MP_LUA_BIND_TERMINAL_H

#include <lua.h>

/* The module `moonport.core.terminal`. */
int luaopen_moonport_terminal(lua_State *L);

#endif
