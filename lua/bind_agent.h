/* moonport.core.agent: what the host's side of a guest's channel needs of C. The user is
 * stdlib/moonport/hypervisor/agent.lua. */
#ifndef MP_LUA_BIND_AGENT_H
#define MP_LUA_BIND_AGENT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

int luaopen_moonport_agent(lua_State *L);

/* True when each of these lines is a request to an agent that changes nothing, so that a shut gate
 * lets it pass. */
bool mp_agent_only_reads(const char *bytes, size_t len);

#endif
