/* The metatables of our userdata. */
#ifndef MP_LUA_CLASS_H
#define MP_LUA_CLASS_H

#include <lauxlib.h>

/* Registers a metatable whose methods are found on the userdata itself. Leaves nothing pushed. */
void mp_class(lua_State *L, const char *name, const luaL_Reg *methods);

#endif
