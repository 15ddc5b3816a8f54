/* The module `moonport.core.process`, which stdlib/moonport/process.lua completes. */
#ifndef MP_LUA_BIND_PROCESS_H
#define MP_LUA_BIND_PROCESS_H

#include <lua.h>

int luaopen_moonport_process(lua_State *L);

#endif
