/* The prompt. */
#ifndef MP_LUA_BIND_READLINE_H
#define MP_LUA_BIND_READLINE_H

#include <lua.h>

/* The module `moonport.core.readline`. */
int luaopen_moonport_readline(lua_State *L);

#endif
