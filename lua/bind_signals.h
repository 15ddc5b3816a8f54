/* Signals as a sequence that a task waits for. */
#ifndef MP_LUA_BIND_SIGNALS_H
#define MP_LUA_BIND_SIGNALS_H

#include <lua.h>

/* signals{"SIGHUP", ...}: an object to call, wait on and close. */
int mp_lua_signals(lua_State *L);

#endif
