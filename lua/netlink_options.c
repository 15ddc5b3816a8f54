#include "netlink_options.h"

#include "errors.h"
#include "netlink_values.h"

#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

/* -- Values ----------------------------------------------------------------------------------- */

const char *netlink_check_text(lua_State *L, int index, const char *what) {
  size_t len;
  if (lua_type(L, index) != LUA_TSTRING)
    mp_bad_argument(L, "`%s` wants a string, got a %s", what, luaL_typename(L, index));
  const char *text = lua_tolstring(L, index, &len);
  if (strlen(text) != len)
    mp_bad_argument(L, "`%s` has a NUL byte in it", what);
  return text;
}

void netlink_check_prefix(lua_State *L, int index, mp_netlink_prefix *prefix) {
  mp_error err = MP_ERROR_INIT;
  if (mp_netlink_prefix_parse(netlink_check_text(L, index, "address"), prefix, &err) < 0)
    mp_throw(L, &err);
}

size_t netlink_check_hardware(lua_State *L, int index, unsigned char bytes[32]) {
  const char *text = netlink_check_text(L, index, "address");
  const char *at = text;
  size_t len = 0;
  for (;;) {
    unsigned byte;
    int used = 0;
    if (len == 32 || sscanf(at, "%2x%n", &byte, &used) != 1 || used != 2)
      break;
    bytes[len++] = (unsigned char)byte;
    at += used;
    if (*at == '\0')
      return len;
    if (*at++ != ':')
      break;
  }
  mp_bad_argument(L, "`%s` is not a hardware address; 02:00:5e:10:00:01 is", text);
  return 0;
}

/* -- Fields: they stay on the stack ----------------------------------------------------------- */

static bool has(lua_State *L, int index, const char *field) {
  return lua_getfield(L, index, field) != LUA_TNIL;
}

static const char *text_field(lua_State *L, int index, const char *field) {
  return has(L, index, field) ? netlink_check_text(L, -1, field) : NULL;
}

/* false stands for none: "". */
static const char *optional_field(lua_State *L, int index, const char *field) {
  if (!has(L, index, field))
    return NULL;
  return lua_isboolean(L, -1) && !lua_toboolean(L, -1) ? "" : netlink_check_text(L, -1, field);
}

static int flag_field(lua_State *L, int index, const char *field) {
  if (!has(L, index, field))
    return -1;
  if (!lua_isboolean(L, -1))
    mp_bad_argument(L, "`%s` wants true or false", field);
  return lua_toboolean(L, -1);
}

static lua_Integer number_field(lua_State *L, int index, const char *field, lua_Integer least,
                                lua_Integer most, lua_Integer otherwise) {
  if (!has(L, index, field))
    return otherwise;
  if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < least || lua_tointeger(L, -1) > most)
    mp_bad_argument(L, "`%s` wants a whole number from %d to %u", field, (int)least,
                    (unsigned)most);
  return lua_tointeger(L, -1);
}

static void add_names(luaL_Buffer *list, const char *const *names) {
  for (; names && *names; names++) {
    luaL_addstring(list, luaL_bufflen(list) > 0 ? ", " : "");
    luaL_addstring(list, *names);
  }
}

static void refuse_unknown(lua_State *L, const char *name, const char *const *known,
                           const char *const *more) {
  luaL_Buffer list;
  luaL_buffinit(L, &list);
  add_names(&list, more);
  add_names(&list, known);
  luaL_pushresult(&list);
  mp_bad_argument(L, "there is no option `%s` here, but %s", name, lua_tostring(L, -1));
}

static void check_fields(lua_State *L, int index, const char *const *known,
                         const char *const *more) {
  luaL_checktype(L, index, LUA_TTABLE);
  luaL_checkstack(L, 64, NULL);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "#";
    bool found = false;
    for (const char *const *at = known; *at && !found; at++)
      found = strcmp(*at, name) == 0;
    for (const char *const *at = more; at && *at && !found; at++)
      found = strcmp(*at, name) == 0;
    if (!found)
      refuse_unknown(L, name, known, more);
  }
}

/* -- Links ------------------------------------------------------------------------------------ */

static const char *const setting_fields[] = {"up",    "mtu",  "master", "address", "alias",
                                             "netns", "ipv4", "ipv6",   NULL};

static void read_ipv4(lua_State *L, int index, mp_netlink_ipv4 *ipv4) {
  static const char *const fields[] = {"forwarding", "rp_filter", "route_localnet", "proxy_arp",
                                       NULL};
  if (!has(L, index, "ipv4"))
    return;
  int at = lua_gettop(L);
  check_fields(L, at, fields, NULL);
  ipv4->forwarding = flag_field(L, at, "forwarding");
  ipv4->rp_filter = (int)number_field(L, at, "rp_filter", 0, 2, -1);
  ipv4->route_localnet = flag_field(L, at, "route_localnet");
  ipv4->proxy_arp = flag_field(L, at, "proxy_arp");
}

static void read_settings(lua_State *L, int index, netlink_job *job) {
  mp_netlink_settings *settings = &job->link.settings;
  settings->up = flag_field(L, index, "up");
  settings->mtu = (unsigned)number_field(L, index, "mtu", 1, 0x7fffffff, 0);
  settings->master = optional_field(L, index, "master");
  settings->alias = optional_field(L, index, "alias");
  if (has(L, index, "address"))
    settings->address_len = netlink_check_hardware(L, -1, settings->address);
  settings->ipv6_address = flag_field(L, index, "ipv6");
  read_ipv4(L, index, &settings->ipv4);
  job->netns = text_field(L, index, "netns");
}

void netlink_read_settings(lua_State *L, int index, netlink_job *job) {
  static const char *const more[] = {"name", NULL};
  check_fields(L, index, setting_fields, more);
  job->link.settings.rename = text_field(L, index, "name");
  read_settings(L, index, job);
}

static void read_addresses(lua_State *L, int index, netlink_job *job) {
  if (!has(L, index, "addresses"))
    return;
  int list = lua_gettop(L);
  luaL_checktype(L, list, LUA_TTABLE);
  lua_Integer count = luaL_len(L, list);
  if (count > NETLINK_ADDRESSES_MOST)
    mp_bad_argument(L, "`addresses` takes at most %d", NETLINK_ADDRESSES_MOST);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, list, i);
    netlink_check_prefix(L, -1, &job->addresses[i - 1]);
    lua_pop(L, 1);
  }
  job->link.addresses = job->addresses;
  job->link.address_count = (size_t)count;
}

static void refuse_field(lua_State *L, int index, const char *kind, const char *const *fields) {
  for (; *fields; fields++)
    if (has(L, index, *fields))
      mp_bad_argument(L, "a link of the kind `%s` has no `%s`", kind, *fields);
}

static void read_tap(lua_State *L, int index, mp_netlink_new_link *link) {
  link->owner = number_field(L, index, "owner", 0, 0xfffffffe, -1);
  link->owner_group = number_field(L, index, "group", 0, 0xfffffffe, -1);
  link->multi_queue = flag_field(L, index, "multi_queue") == 1;
  link->vnet_hdr = flag_field(L, index, "vnet_hdr") == 1;
}

static void read_peer(lua_State *L, int index, netlink_job *job) {
  static const char *const fields[] = {"name", "netns", NULL};
  if (!has(L, index, "peer"))
    mp_bad_argument(L, "a veth wants `peer = { name = NAME }`");
  int at = lua_gettop(L);
  check_fields(L, at, fields, NULL);
  job->link.peer = text_field(L, at, "name");
  if (!job->link.peer)
    mp_bad_argument(L, "a veth's `peer` wants a name");
  job->netns = text_field(L, at, "netns");
}

static void read_vlan(lua_State *L, int index, mp_netlink_new_link *link) {
  link->parent = text_field(L, index, "link");
  link->vlan_id = (unsigned)number_field(L, index, "id", 1, 4094, 0);
  if (!link->parent || !link->vlan_id)
    mp_bad_argument(L, "a vlan wants `link`, what it stands on, and its `id`");
}

void netlink_read_new_link(lua_State *L, int index, netlink_job *job) {
  static const char *const more[] = {"name",  "kind",        "addresses", "owner",
                                     "group", "multi_queue", "vnet_hdr",  "peer",
                                     "link",  "id",          NULL};
  static const char *const tap[] = {"owner", "group", "multi_queue", "vnet_hdr", NULL};
  static const char *const veth[] = {"peer", NULL}, *const vlan[] = {"link", "id", NULL};
  mp_netlink_new_link *link = &job->link;
  check_fields(L, index, setting_fields, more);
  link->name = text_field(L, index, "name");
  link->kind = text_field(L, index, "kind");
  if (!link->name || !link->kind)
    mp_bad_argument(L, "a link wants a `name` and a `kind`");
  if (has(L, index, "netns"))
    mp_bad_argument(L, "a link is made in the namespace of its connection; see netlink.open");
  read_settings(L, index, job);
  read_addresses(L, index, job);
  bool is_tap = strcmp(link->kind, "tap") == 0, is_veth = strcmp(link->kind, "veth") == 0;
  bool is_vlan = strcmp(link->kind, "vlan") == 0;
  if (!is_tap && !is_veth && !is_vlan && strcmp(link->kind, "bridge") != 0 &&
      strcmp(link->kind, "dummy") != 0)
    mp_bad_argument(L,
                    "`%s` is no kind of link that can be made here: tap, bridge, veth, vlan or "
                    "dummy",
                    link->kind);
  if (is_tap)
    read_tap(L, index, link);
  else
    refuse_field(L, index, link->kind, tap);
  if (is_veth)
    read_peer(L, index, job);
  else
    refuse_field(L, index, link->kind, veth);
  if (is_vlan)
    read_vlan(L, index, link);
  else
    refuse_field(L, index, link->kind, vlan);
}

/* -- Addresses -------------------------------------------------------------------------------- */

void netlink_read_address(lua_State *L, int index, netlink_job *job) {
  static const char *const fields[] = {"peer", "replace", "valid", "preferred", NULL};
  mp_netlink_address_options *options = &job->address;
  check_fields(L, index, fields, NULL);
  if (has(L, index, "peer"))
    netlink_check_prefix(L, -1, &job->other);
  options->replace = flag_field(L, index, "replace") == 1;
  lua_Integer most = MP_NETLINK_FOREVER - 1;
  options->valid = (unsigned)number_field(L, index, "valid", 1, most, MP_NETLINK_FOREVER);
  options->preferred = (unsigned)number_field(L, index, "preferred", 0, most, options->valid);
  if (options->preferred > options->valid)
    mp_bad_argument(L, "an address is not `preferred` longer than it is `valid`");
}

/* -- Routes ----------------------------------------------------------------------------------- */

static void read_prefix(lua_State *L, int index, const char *field, mp_netlink_prefix *prefix) {
  if (has(L, index, field))
    netlink_check_prefix(L, -1, prefix);
}

/* The family of a default route is that of its gateway, IPv4's without one. */
static void read_destination(lua_State *L, int index, mp_netlink_new_route *route) {
  const char *text = text_field(L, index, "dst");
  if (!text)
    mp_bad_argument(L, "a route wants a `dst`: a prefix or \"default\"");
  if (strcmp(text, "default") == 0)
    route->destination.family = route->via.family ? route->via.family : AF_INET;
  else
    netlink_check_prefix(L, -1, &route->destination);
}

void netlink_read_route(lua_State *L, int index, netlink_job *job) {
  static const char *const fields[] = {"dst",    "via",   "link", "src",
                                       "metric", "table", "type", NULL};
  mp_netlink_new_route *route = &job->route;
  check_fields(L, index, fields, NULL);
  read_prefix(L, index, "via", &route->via);
  read_destination(L, index, route);
  read_prefix(L, index, "src", &route->source);
  route->link = text_field(L, index, "link");
  route->metric = (unsigned)number_field(L, index, "metric", 0, 0xffffffff, 0);
  if (has(L, index, "table")) {
    int number = netlink_table(luaL_tolstring(L, -1, NULL));
    if (number < 0)
      mp_bad_argument(L, "`table` wants a number, or one of: main, local, default");
    route->table = (unsigned)number;
  }
  const char *type = text_field(L, index, "type");
  int number = netlink_route_type(type ? type : "unicast");
  if (number < 0)
    mp_bad_argument(L, "`%s` is no type of route", type);
  route->type = (unsigned)number;
  if ((route->via.family && route->via.family != route->destination.family) ||
      (route->source.family && route->source.family != route->destination.family))
    mp_bad_argument(L, "the addresses of a route are of one family");
}
