/* The module `moonport.core.nftables`: sockets to nftables, batches, lists and events. What the
 * messages mean is said in Lua (stdlib/moonport/nft). */
#ifndef MP_LUA_BIND_NFTABLES_H
#define MP_LUA_BIND_NFTABLES_H

#include "core/buf.h"
#include "core/nftables/writer.h"

#include <lua.h>

int luaopen_moonport_nftables(lua_State *L);

/* Writes the list of messages at `index`; raises where one is not as the core wants it. A message
 * is {kind, action, family, the kind's attributes, exprs = {{name, attributes}}, elements =
 * {{attributes, exprs}}}. */
void mp_lua_nft_write(lua_State *L, int index, mp_nft_writer *writer);

/* Pushes the list of the messages in *messages, in the same form, `gone` in place of an action. */
int mp_lua_nft_read(lua_State *L, const mp_buf *messages);

#endif
