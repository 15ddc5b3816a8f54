/* Links, addresses, routes and neighbours as Lua tables. */
#ifndef MP_LUA_NETLINK_VALUES_H
#define MP_LUA_NETLINK_VALUES_H

#include "core/netlink/addresses.h"
#include "core/netlink/links.h"
#include "core/netlink/neighbours.h"
#include "core/netlink/routes.h"

#include <lua.h>

/* Each pushes a table. links: where the names of indices are found; NULL: indices only. */
void netlink_push_link(lua_State *L, const mp_netlink_link *link, const mp_netlink_links *links);
void netlink_push_address(lua_State *L, const mp_netlink_address *address,
                          const mp_netlink_links *links);
void netlink_push_route(lua_State *L, const mp_netlink_route *route, const mp_netlink_links *links);
void netlink_push_neighbour(lua_State *L, const mp_netlink_neighbour *neighbour,
                            const mp_netlink_links *links);

/* The number of a route's type ("unicast", "blackhole", ...), -1 for none. */
int netlink_route_type(const char *name);

/* The number of a table of routes: "main", "local", "default", or digits; -1 for none. */
int netlink_table(const char *name);

#endif
