/* The module `moonport.yaml`. */
#ifndef MP_LUA_BIND_YAML_H
#define MP_LUA_BIND_YAML_H

#include <lua.h>

int luaopen_moonport_yaml(lua_State *L);

#endif
