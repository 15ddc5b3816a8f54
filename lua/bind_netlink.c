/* moonport.core.netlink: connections to the routing netlink as objects. What moonport.netlink gives
 * to scripts is described there. */
#include "bind_netlink.h"

#include "core/mem.h"
#include "core/netlink/namespace.h"
#include "errors.h"
#include "gate.h"
#include "netlink_options.h"
#include "netlink_values.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTION "moonport.netlink"

static netlink_box *check_box(lua_State *L) {
  netlink_box *box = luaL_checkudata(L, 1, CONNECTION);
  if (!box->nl || box->closing)
    mp_raise(L, "netlink", "closed", NULL, "the connection was closed");
  return box;
}

/* -- Connections ------------------------------------------------------------------------------ */

static int run_open(netlink_job *job) {
  int netns = -1;
  if (job->name && mp_netns_open(job->name, &netns, &job->wait.error) < 0)
    return -1;
  return mp_netlink_open(netns, &job->opened, &job->wait.error);
}

static int push_connection(lua_State *L, netlink_job *job) {
  netlink_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = (netlink_box){.nl = mp_steal(job->opened)};
  luaL_setmetatable(L, CONNECTION);
  return 1;
}

/* open(netns) */
static int l_open(lua_State *L) {
  const char *netns = lua_isnoneornil(L, 1) ? NULL : netlink_check_text(L, 1, "netns");
  netlink_job *job = netlink_job_new(L, NULL, "netlink.open", run_open, push_connection);
  job->name = netns;
  return netlink_job_go(L, job);
}

static int connection_close(lua_State *L) {
  netlink_box_close(luaL_checkudata(L, 1, CONNECTION));
  return 0;
}

/* -- Namespaces ------------------------------------------------------------------------------- */

static int run_namespaces(netlink_job *job) {
  return mp_netns_list(&job->list, &job->count, &job->wait.error);
}

static int push_names(lua_State *L, netlink_job *job) {
  lua_createtable(L, (int)job->count, 0);
  for (size_t i = 0; i < job->count; i++) {
    lua_pushstring(L, job->list[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int l_namespaces(lua_State *L) {
  return netlink_job_go(L,
                        netlink_job_new(L, NULL, "netlink.namespaces", run_namespaces, push_names));
}

static int run_create_namespace(netlink_job *job) {
  return mp_netns_create(job->name, &job->wait.error);
}

static int run_delete_namespace(netlink_job *job) {
  return mp_netns_delete(job->name, &job->wait.error);
}

static int change_namespace(lua_State *L, const char *call, int (*run)(netlink_job *job)) {
  const char *name = netlink_check_text(L, 1, "name");
  mp_gate(L, call, "the network namespace `%s`", name);
  netlink_job *job = netlink_job_new(L, NULL, call, run, netlink_push_nothing);
  job->name = name;
  return netlink_job_go(L, job);
}

static int l_create_namespace(lua_State *L) {
  return change_namespace(L, "netlink.create_namespace", run_create_namespace);
}

static int l_delete_namespace(lua_State *L) {
  return change_namespace(L, "netlink.delete_namespace", run_delete_namespace);
}

/* -- The device of TAPs ------------------------------------------------------------------------ */

static int run_check_tap(netlink_job *job) {
  return mp_netlink_check_tap(&job->wait.error);
}

static int l_check_tap(lua_State *L) {
  return netlink_job_go(
      L, netlink_job_new(L, NULL, "netlink.check_tap", run_check_tap, netlink_push_nothing));
}

/* -- Links: reading --------------------------------------------------------------------------- */

static int run_links(netlink_job *job) {
  return mp_netlink_list_links(job->box->nl, &job->links, &job->wait.error);
}

static int push_links(lua_State *L, netlink_job *job) {
  lua_createtable(L, (int)job->links.count, 0);
  for (size_t i = 0; i < job->links.count; i++) {
    netlink_push_link(L, &job->links.items[i], &job->links);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int connection_links(lua_State *L) {
  return netlink_job_go(L,
                        netlink_job_new(L, check_box(L), "netlink.links", run_links, push_links));
}

/* Adds the link with this index, whose name is wanted; one that has gone meanwhile has none. */
static void add_named(netlink_job *job, int index) {
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  if (index != 0 && mp_netlink_find_link(job->box->nl, NULL, index,
                                         &job->links.items[job->links.count], &ignored) == 0)
    job->links.count++;
}

static int run_link(netlink_job *job) {
  job->links.items = mp_calloc(3, sizeof *job->links.items);
  mp_netlink_link *link = job->links.items;
  if (mp_netlink_find_link(job->box->nl, job->name, (int)job->index, link, &job->wait.error) < 0)
    return -1;
  job->links.count = 1;
  add_named(job, link->master);
  add_named(job, link->parent_elsewhere ? 0 : link->parent);
  return 0;
}

static int push_link(lua_State *L, netlink_job *job) {
  netlink_push_link(L, &job->links.items[0], &job->links);
  return 1;
}

/* link(name or index) */
static int connection_link(lua_State *L) {
  netlink_box *box = check_box(L);
  bool by_index = lua_isinteger(L, 2);
  const char *name = by_index ? NULL : netlink_check_text(L, 2, "link");
  lua_Integer index = by_index ? lua_tointeger(L, 2) : 0;
  if (by_index && (index < 1 || index > 0x7fffffff))
    mp_bad_argument(L, "%lld is not the index of a link", (long long)index);
  netlink_job *job = netlink_job_new(L, box, "netlink.link", run_link, push_link);
  job->name = name;
  job->index = index;
  return netlink_job_go(L, job);
}

/* -- Links: changing -------------------------------------------------------------------------- */

/* Opens the namespace that the job's options name, if any. */
static int open_netns(netlink_job *job, int *netns) {
  return job->netns ? mp_netns_open(job->netns, netns, &job->wait.error) : 0;
}

static void close_netns(int *netns) {
  if (*netns >= 0)
    close(*netns);
  *netns = -1;
}

static int run_add_link(netlink_job *job) {
  if (open_netns(job, &job->link.peer_netns) < 0)
    return -1;
  int rc = mp_netlink_add_link(job->box->nl, &job->link, &job->wait.error);
  close_netns(&job->link.peer_netns);
  return rc;
}

/* add_link(options) */
static int connection_add_link(lua_State *L) {
  netlink_box *box = check_box(L);
  netlink_job *job =
      netlink_job_new(L, box, "netlink.add_link", run_add_link, netlink_push_nothing);
  netlink_read_new_link(L, 2, job);
  mp_gate(L, "netlink.add_link", "add the %s `%s`", job->link.kind, job->link.name);
  return netlink_job_go(L, job);
}

static int run_set_link(netlink_job *job) {
  mp_netlink_settings *settings = &job->link.settings;
  if (open_netns(job, &settings->netns) < 0)
    return -1;
  int rc = mp_netlink_set_link(job->box->nl, job->name, settings, &job->wait.error);
  close_netns(&settings->netns);
  return rc;
}

/* set_link(name, options) */
static int connection_set_link(lua_State *L) {
  netlink_box *box = check_box(L);
  const char *name = netlink_check_text(L, 2, "link");
  netlink_job *job =
      netlink_job_new(L, box, "netlink.set_link", run_set_link, netlink_push_nothing);
  netlink_read_settings(L, 3, job);
  mp_gate(L, "netlink.set_link", "change the link `%s`", name);
  job->name = name;
  return netlink_job_go(L, job);
}

static int run_delete_links(netlink_job *job) {
  size_t deleted;
  if (mp_netlink_delete_links(job->box->nl, job->names, job->count, &deleted, &job->wait.error) < 0)
    return -1;
  job->index = (lua_Integer)deleted;
  return 0;
}

static int push_count(lua_State *L, netlink_job *job) {
  lua_pushinteger(L, job->index);
  return 1;
}

/* The names of a list, which keeps them alive: it is on the stack, and is a copy. */
static const char **check_names(lua_State *L, int index, size_t *count) {
  luaL_checktype(L, index, LUA_TTABLE);
  lua_Integer length = luaL_len(L, index);
  const char **names = lua_newuserdatauv(L, ((size_t)length + 1) * sizeof *names, 0);
  lua_createtable(L, (int)length, 0);
  for (lua_Integer i = 1; i <= length; i++) {
    lua_geti(L, index, i);
    names[i - 1] = netlink_check_text(L, -1, "link");
    lua_rawseti(L, -2, i);
  }
  *count = (size_t)length;
  return names;
}

/* delete_links(names): how many there were */
static int connection_delete_links(lua_State *L) {
  netlink_box *box = check_box(L);
  size_t count;
  const char **names = check_names(L, 2, &count);
  mp_gate(L, "netlink.delete_links", "delete %d links, `%s` among them", (int)count,
          count > 0 ? names[0] : "");
  netlink_job *job = netlink_job_new(L, box, "netlink.delete_links", run_delete_links, push_count);
  job->names = names;
  job->count = count;
  return netlink_job_go(L, job);
}

/* -- Addresses -------------------------------------------------------------------------------- */

static int run_addresses(netlink_job *job) {
  return run_links(job) < 0
             ? -1
             : mp_netlink_list_addresses(job->box->nl, &job->found_addresses, &job->wait.error);
}

static int push_addresses(lua_State *L, netlink_job *job) {
  lua_createtable(L, (int)job->found_addresses.count, 0);
  for (size_t i = 0; i < job->found_addresses.count; i++) {
    netlink_push_address(L, &job->found_addresses.items[i], &job->links);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int connection_addresses(lua_State *L) {
  return netlink_job_go(
      L, netlink_job_new(L, check_box(L), "netlink.addresses", run_addresses, push_addresses));
}

static int run_add_address(netlink_job *job) {
  job->address.peer = job->other.family ? &job->other : NULL;
  return mp_netlink_add_address(job->box->nl, job->name, &job->prefix, &job->address,
                                &job->wait.error);
}

static int run_delete_address(netlink_job *job) {
  return mp_netlink_delete_address(job->box->nl, job->name, &job->prefix, &job->wait.error);
}

static int change_address(lua_State *L, const char *call, int (*run)(netlink_job *job)) {
  netlink_box *box = check_box(L);
  const char *link = netlink_check_text(L, 2, "link");
  bool has_options = !lua_isnoneornil(L, 4);
  mp_gate(L, call, "`%s` of the link `%s`", luaL_checkstring(L, 3), link);
  netlink_job *job = netlink_job_new(L, box, call, run, netlink_push_nothing);
  job->name = link;
  netlink_check_prefix(L, 3, &job->prefix);
  if (has_options)
    netlink_read_address(L, 4, job);
  if (job->other.family && job->other.family != job->prefix.family)
    mp_bad_argument(L, "an address and its peer are of one family");
  return netlink_job_go(L, job);
}

/* add_address(link, address, options) */
static int connection_add_address(lua_State *L) {
  return change_address(L, "netlink.add_address", run_add_address);
}

/* delete_address(link, address) */
static int connection_delete_address(lua_State *L) {
  lua_settop(L, 3);
  return change_address(L, "netlink.delete_address", run_delete_address);
}

/* -- Routes ----------------------------------------------------------------------------------- */

static int run_routes(netlink_job *job) {
  return run_links(job) < 0
             ? -1
             : mp_netlink_list_routes(job->box->nl, job->number, &job->routes, &job->wait.error);
}

static int push_routes(lua_State *L, netlink_job *job) {
  lua_createtable(L, (int)job->routes.count, 0);
  for (size_t i = 0; i < job->routes.count; i++) {
    netlink_push_route(L, &job->routes.items[i], &job->links);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* routes(table): "all" for every one */
static int connection_routes(lua_State *L) {
  netlink_box *box = check_box(L);
  const char *table = lua_isnoneornil(L, 2) ? "main" : luaL_tolstring(L, 2, NULL);
  int number = strcmp(table, "all") == 0 ? 0 : netlink_table(table);
  if (number < 0)
    mp_bad_argument(L, "`table` wants a number, or one of: main, local, default, all");
  netlink_job *job = netlink_job_new(L, box, "netlink.routes", run_routes, push_routes);
  job->number = (unsigned)number;
  return netlink_job_go(L, job);
}

static int run_change_route(netlink_job *job) {
  return mp_netlink_change_route(job->box->nl, job->change, &job->route, &job->wait.error);
}

static int change_route(lua_State *L, const char *call, mp_netlink_route_change change) {
  netlink_box *box = check_box(L);
  netlink_job *job = netlink_job_new(L, box, call, run_change_route, netlink_push_nothing);
  netlink_read_route(L, 2, job);
  lua_getfield(L, 2, "dst");
  mp_gate(L, call, "the route to `%s`", lua_tostring(L, -1));
  job->change = change;
  return netlink_job_go(L, job);
}

static int connection_add_route(lua_State *L) {
  return change_route(L, "netlink.add_route", MP_NETLINK_ADD);
}

static int connection_replace_route(lua_State *L) {
  return change_route(L, "netlink.replace_route", MP_NETLINK_REPLACE);
}

static int connection_delete_route(lua_State *L) {
  return change_route(L, "netlink.delete_route", MP_NETLINK_DELETE);
}

/* -- Neighbours ------------------------------------------------------------------------------- */

static int run_neighbours(netlink_job *job) {
  return run_links(job) < 0
             ? -1
             : mp_netlink_list_neighbours(job->box->nl, &job->neighbours, &job->wait.error);
}

static int push_neighbours(lua_State *L, netlink_job *job) {
  lua_createtable(L, (int)job->neighbours.count, 0);
  for (size_t i = 0; i < job->neighbours.count; i++) {
    netlink_push_neighbour(L, &job->neighbours.items[i], &job->links);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int connection_neighbours(lua_State *L) {
  return netlink_job_go(
      L, netlink_job_new(L, check_box(L), "netlink.neighbours", run_neighbours, push_neighbours));
}

static int run_add_neighbour(netlink_job *job) {
  return mp_netlink_add_neighbour(job->box->nl, job->name, &job->prefix, job->link.settings.address,
                                  job->link.settings.address_len, job->flag, &job->wait.error);
}

static int run_delete_neighbour(netlink_job *job) {
  return mp_netlink_delete_neighbour(job->box->nl, job->name, &job->prefix, &job->wait.error);
}

/* add_neighbour(link, address, hardware, replace) */
static int connection_add_neighbour(lua_State *L) {
  netlink_box *box = check_box(L);
  const char *link = netlink_check_text(L, 2, "link");
  mp_gate(L, "netlink.add_neighbour", "`%s` on the link `%s`", luaL_checkstring(L, 3), link);
  netlink_job *job =
      netlink_job_new(L, box, "netlink.add_neighbour", run_add_neighbour, netlink_push_nothing);
  job->name = link;
  job->flag = lua_toboolean(L, 5);
  netlink_check_prefix(L, 3, &job->prefix);
  job->link.settings.address_len = netlink_check_hardware(L, 4, job->link.settings.address);
  return netlink_job_go(L, job);
}

/* delete_neighbour(link, address) */
static int connection_delete_neighbour(lua_State *L) {
  netlink_box *box = check_box(L);
  const char *link = netlink_check_text(L, 2, "link");
  mp_gate(L, "netlink.delete_neighbour", "`%s` on the link `%s`", luaL_checkstring(L, 3), link);
  netlink_job *job = netlink_job_new(L, box, "netlink.delete_neighbour", run_delete_neighbour,
                                     netlink_push_nothing);
  job->name = link;
  netlink_check_prefix(L, 3, &job->prefix);
  return netlink_job_go(L, job);
}

/* -- The module ------------------------------------------------------------------------------- */

static void make_metatable(lua_State *L) {
  static const luaL_Reg methods[] = {{"links", connection_links},
                                     {"link", connection_link},
                                     {"add_link", connection_add_link},
                                     {"set_link", connection_set_link},
                                     {"delete_links", connection_delete_links},
                                     {"addresses", connection_addresses},
                                     {"add_address", connection_add_address},
                                     {"delete_address", connection_delete_address},
                                     {"routes", connection_routes},
                                     {"add_route", connection_add_route},
                                     {"replace_route", connection_replace_route},
                                     {"delete_route", connection_delete_route},
                                     {"neighbours", connection_neighbours},
                                     {"add_neighbour", connection_add_neighbour},
                                     {"delete_neighbour", connection_delete_neighbour},
                                     {"close", connection_close},
                                     {NULL, NULL}};
  luaL_newmetatable(L, CONNECTION);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, connection_close);
  lua_setfield(L, -2, "__close");
  lua_pushcfunction(L, connection_close);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

int luaopen_moonport_netlink(lua_State *L) {
  static const luaL_Reg functions[] = {{"open", l_open},
                                       {"check_tap", l_check_tap},
                                       {"monitor", mp_lua_netlink_monitor},
                                       {"namespaces", l_namespaces},
                                       {"create_namespace", l_create_namespace},
                                       {"delete_namespace", l_delete_namespace},
                                       {NULL, NULL}};
  make_metatable(L);
  mp_lua_netlink_monitor_open(L);
  luaL_newlib(L, functions);
  return 1;
}
