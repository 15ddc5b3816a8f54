/* Option tables of the netlink calls. */
#ifndef MP_LUA_NETLINK_OPTIONS_H
#define MP_LUA_NETLINK_OPTIONS_H

#include "netlink_job.h"

#include <lua.h>

/* Each reads the table at `index` into the job and raises for what it does not know. The strings
 * stay on the stack. */
void netlink_read_new_link(lua_State *L, int index, netlink_job *job);
void netlink_read_settings(lua_State *L, int index, netlink_job *job);
/* Reads the options of an address into job->address and job->other. */
void netlink_read_address(lua_State *L, int index, netlink_job *job);

void netlink_read_route(lua_State *L, int index, netlink_job *job);

/* "172.30.0.1/30" at `index`. */
void netlink_check_prefix(lua_State *L, int index, mp_netlink_prefix *prefix);

/* "02:00:5e:10:00:01" at `index`; returns the number of bytes. */
size_t netlink_check_hardware(lua_State *L, int index, unsigned char bytes[32]);

/* Text without a NUL byte at `index`. */
const char *netlink_check_text(lua_State *L, int index, const char *what);

#endif
