/* moonport.core.websocket: connect, and what a WebSocket is in scripts.
 * stdlib/moonport/websocket.lua builds mp.websocket on it. */
#ifndef MP_LUA_BIND_WEBSOCKET_H
#define MP_LUA_BIND_WEBSOCKET_H

#include "core/websocket.h"

#include <lua.h>

int luaopen_moonport_websocket(lua_State *L);

/* Reads `protocols`, `max_message`, `buffer`, `ping` and `may_stall` of the table at `index` into
 * *options, whose other fields are left. Raises on wrong types. What the options point to lives as
 * long as the table is unchanged and the value that this pushes stays on the stack. */
void mp_websocket_read_options(lua_State *L, int index, mp_websocket_options *options);

/* A connect operation: mp_websocket_connect, or another that ends like it. */
typedef int (*mp_websocket_start)(void *how, mp_loop *loop, mp_websocket_connect_cb cb, void *data,
                                  mp_op **op, mp_error *err);

/* Starts it, waits and gives the WebSocket: `return mp_lua_websocket_wait(L, "x.connect", start,
 * &how)`. `how` is used during the call only. A refusal raises {kind="websocket", code="refused"}
 * with `status`, `reason` and `body`. */
int mp_lua_websocket_wait(lua_State *L, const char *what, mp_websocket_start start, void *how);

#endif
