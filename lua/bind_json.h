/* The module `moonport.json`. */
#ifndef MP_LUA_BIND_JSON_H
#define MP_LUA_BIND_JSON_H

#include <lua.h>

int luaopen_moonport_json(lua_State *L);

#endif
