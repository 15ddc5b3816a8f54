#include "netlink_values.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  unsigned number;
  const char *name;
} named;

/* As `ip route` writes them. */
static const named types[] = {{RTN_UNICAST, "unicast"},
                              {RTN_LOCAL, "local"},
                              {RTN_BROADCAST, "broadcast"},
                              {RTN_ANYCAST, "anycast"},
                              {RTN_MULTICAST, "multicast"},
                              {RTN_BLACKHOLE, "blackhole"},
                              {RTN_UNREACHABLE, "unreachable"},
                              {RTN_PROHIBIT, "prohibit"},
                              {RTN_THROW, "throw"},
                              {0, NULL}};
static const named protocols[] = {{RTPROT_REDIRECT, "redirect"},
                                  {RTPROT_KERNEL, "kernel"},
                                  {RTPROT_BOOT, "boot"},
                                  {RTPROT_STATIC, "static"},
                                  {RTPROT_RA, "ra"},
                                  {RTPROT_DHCP, "dhcp"},
                                  {0, NULL}};
static const named scopes[] = {{RT_SCOPE_UNIVERSE, "global"}, {RT_SCOPE_SITE, "site"},
                               {RT_SCOPE_LINK, "link"},       {RT_SCOPE_HOST, "host"},
                               {RT_SCOPE_NOWHERE, "nowhere"}, {0, NULL}};
static const named tables[] = {
    {RT_TABLE_MAIN, "main"}, {RT_TABLE_LOCAL, "local"}, {RT_TABLE_DEFAULT, "default"}, {0, NULL}};
static const named states[] = {{NUD_NONE, "none"},           {NUD_INCOMPLETE, "incomplete"},
                               {NUD_REACHABLE, "reachable"}, {NUD_STALE, "stale"},
                               {NUD_DELAY, "delay"},         {NUD_PROBE, "probe"},
                               {NUD_FAILED, "failed"},       {NUD_NOARP, "noarp"},
                               {NUD_PERMANENT, "permanent"}, {0, NULL}};

int netlink_route_type(const char *name) {
  for (const named *at = types; at->name; at++)
    if (strcmp(at->name, name) == 0)
      return (int)at->number;
  return -1;
}

int netlink_table(const char *name) {
  for (const named *at = tables; at->name; at++)
    if (strcmp(at->name, name) == 0)
      return (int)at->number;
  char *end;
  long number = strtol(name, &end, 10);
  return *name && !*end && number > 0 && number <= 0x7fffffff ? (int)number : -1;
}

/* -- Fields ----------------------------------------------------------------------------------- */

static void set_text(lua_State *L, const char *field, const char *text) {
  if (!text || !*text)
    return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const char *field, lua_Integer number) {
  lua_pushinteger(L, number);
  lua_setfield(L, -2, field);
}

static void set_flag(lua_State *L, const char *field, bool flag) {
  lua_pushboolean(L, flag);
  lua_setfield(L, -2, field);
}

/* The name, or the number where there is no name. */
static void set_named(lua_State *L, const char *field, const named *names, unsigned number) {
  for (; names->name; names++)
    if (names->number == number) {
      set_text(L, field, names->name);
      return;
    }
  set_number(L, field, number);
}

static void set_prefix(lua_State *L, const char *field, const mp_netlink_prefix *prefix,
                       bool with_length) {
  char text[MP_NETLINK_PREFIX_TEXT];
  mp_netlink_prefix_format(prefix, with_length, text);
  set_text(L, field, text);
}

static void set_hardware(lua_State *L, const char *field, const unsigned char *bytes, size_t len) {
  char text[32 * 3 + 1] = "";
  for (size_t i = 0; i < len && i < 32; i++)
    snprintf(text + i * 3, 4, "%02x:", bytes[i]);
  if (len > 0)
    text[(len < 32 ? len : 32) * 3 - 1] = '\0';
  set_text(L, field, text);
}

static void set_family(lua_State *L, int family) {
  set_text(L, "family", family == AF_INET6 ? "inet6" : "inet");
}

static const char *name_of(const mp_netlink_links *links, int index) {
  for (size_t i = 0; links && i < links->count; i++)
    if (links->items[i].index == index)
      return links->items[i].name;
  return NULL;
}

/* -- Values ----------------------------------------------------------------------------------- */

static void set_setting(lua_State *L, const char *field, int value) {
  if (value >= 0)
    set_number(L, field, value);
}

static void set_ipv4(lua_State *L, const mp_netlink_ipv4 *ipv4) {
  if (ipv4->forwarding < 0)
    return;
  lua_createtable(L, 0, 4);
  set_setting(L, "forwarding", ipv4->forwarding);
  set_setting(L, "rp_filter", ipv4->rp_filter);
  set_setting(L, "route_localnet", ipv4->route_localnet);
  set_setting(L, "proxy_arp", ipv4->proxy_arp);
  lua_setfield(L, -2, "ipv4");
}

static void set_tap(lua_State *L, const mp_netlink_link *link) {
  if (strcmp(link->kind, "tap") != 0 && strcmp(link->kind, "tun") != 0)
    return;
  if (link->owner >= 0)
    set_number(L, "owner", link->owner);
  if (link->owner_group >= 0)
    set_number(L, "group", link->owner_group);
  set_flag(L, "persistent", link->persistent);
  set_flag(L, "multi_queue", link->multi_queue);
  set_flag(L, "vnet_hdr", link->vnet_hdr);
}

void netlink_push_link(lua_State *L, const mp_netlink_link *link, const mp_netlink_links *links) {
  lua_createtable(L, 0, 16);
  set_number(L, "index", link->index);
  set_text(L, "name", link->name);
  set_text(L, "kind", link->kind);
  set_flag(L, "up", link->up);
  set_flag(L, "carrier", link->carrier);
  set_number(L, "mtu", link->mtu);
  set_text(L, "alias", link->alias);
  set_hardware(L, "address", link->address, link->address_len);
  if (link->master) {
    set_number(L, "master_index", link->master);
    set_text(L, "master", name_of(links, link->master));
  }
  if (link->parent) {
    set_number(L, "parent_index", link->parent);
    set_text(L, "parent", link->parent_elsewhere ? NULL : name_of(links, link->parent));
  }
  set_setting(L, "id", link->vlan_id);
  set_tap(L, link);
  set_ipv4(L, &link->ipv4);
}

static void set_link(lua_State *L, int index, const mp_netlink_links *links) {
  if (index == 0)
    return;
  set_number(L, "index", index);
  set_text(L, "link", name_of(links, index));
}

void netlink_push_address(lua_State *L, const mp_netlink_address *address,
                          const mp_netlink_links *links) {
  lua_createtable(L, 0, 8);
  set_family(L, address->address.family);
  set_prefix(L, "address", &address->address, true);
  set_prefix(L, "peer", &address->peer, false);
  set_link(L, address->link, links);
  set_named(L, "scope", scopes, address->scope);
  set_flag(L, "permanent", address->permanent);
  if (!address->permanent) {
    set_number(L, "valid", address->valid);
    set_number(L, "preferred", address->preferred);
  }
}

static void set_hop(lua_State *L, const mp_netlink_hop *hop, const mp_netlink_links *links) {
  set_prefix(L, "via", &hop->via, false);
  set_link(L, hop->link, links);
}

static void set_hops(lua_State *L, const mp_netlink_route *route, const mp_netlink_links *links) {
  if (route->hop_count > 0)
    set_hop(L, &route->hops[0], links);
  if (route->hop_count < 2)
    return;
  lua_createtable(L, (int)route->hop_count, 0);
  for (size_t i = 0; i < route->hop_count; i++) {
    lua_createtable(L, 0, 4);
    set_hop(L, &route->hops[i], links);
    set_number(L, "weight", route->hops[i].weight);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "hops");
}

void netlink_push_route(lua_State *L, const mp_netlink_route *route,
                        const mp_netlink_links *links) {
  lua_createtable(L, 0, 12);
  set_family(L, route->family);
  if (route->destination.length == 0)
    set_text(L, "dst", "default");
  else
    set_prefix(L, "dst", &route->destination, true);
  set_prefix(L, "src", &route->source, false);
  set_hops(L, route, links);
  set_named(L, "table", tables, route->table);
  set_number(L, "metric", route->metric);
  set_named(L, "type", types, route->type);
  set_named(L, "protocol", protocols, route->protocol);
  set_named(L, "scope", scopes, route->scope);
}

void netlink_push_neighbour(lua_State *L, const mp_netlink_neighbour *neighbour,
                            const mp_netlink_links *links) {
  lua_createtable(L, 0, 8);
  set_family(L, neighbour->address.family);
  set_prefix(L, "address", &neighbour->address, false);
  set_link(L, neighbour->link, links);
  set_hardware(L, "hardware", neighbour->hardware, neighbour->hardware_len);
  set_named(L, "state", states, neighbour->state);
  set_flag(L, "proxy", neighbour->proxy);
}
