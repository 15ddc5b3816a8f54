/* The C modules by the name that `require "moonport.NAME"` finds them by. */
#ifndef MP_LUA_MODULES_H
#define MP_LUA_MODULES_H

#include <lauxlib.h>

extern const luaL_Reg mp_c_modules[];

#endif
