/* A Lua state with memory of its own; otherwise as luaL_newstate makes it. */
#ifndef MP_LUA_STATE_H
#define MP_LUA_STATE_H

#include "heap.h"

#include <lua.h>

/* NULL when there is no memory. The heap must outlive it. */
lua_State *mp_state_new(mp_heap *heap);

#endif
