/* The time. */
#ifndef MP_LUA_BIND_CLOCK_H
#define MP_LUA_BIND_CLOCK_H

#include <lua.h>

/* The module `moonport.core.clock`. */
int luaopen_moonport_clock(lua_State *L);

#endif
