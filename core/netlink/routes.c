#include "routes.h"

#include "core/mem.h"
#include "internal.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

typedef struct {
  mp_netlink_routes routes;
  unsigned table;
} listing;

void mp_netlink_route_reset(mp_netlink_route *route) {
  free(route->hops);
  *route = (mp_netlink_route){0};
}

void mp_netlink_routes_reset(mp_netlink_routes *routes) {
  for (size_t i = 0; i < routes->count; i++)
    mp_netlink_route_reset(&routes->items[i]);
  free(routes->items);
  *routes = (mp_netlink_routes){0};
}

static void restart(void *data) {
  mp_netlink_routes_reset(&((listing *)data)->routes);
}

static void see_route(void *data, const struct nlmsghdr *message) {
  listing *self = data;
  mp_netlink_routes *routes = &self->routes;
  mp_netlink_route route;
  if (!mp_netlink_parse_route(message, &route) ||
      (self->table != 0 && route.table != self->table)) {
    mp_netlink_route_reset(&route);
    return;
  }
  routes->items = mp_realloc(routes->items, (routes->count + 1) * sizeof route);
  routes->items[routes->count++] = route;
}

int mp_netlink_list_routes(mp_netlink *nl, unsigned table, mp_netlink_routes *routes,
                           mp_error *err) {
  struct rtmsg header = {.rtm_family = AF_UNSPEC};
  listing self = {.table = table};
  struct nl_msg *message = mp_netlink_message_(RTM_GETROUTE, NLM_F_DUMP, &header, sizeof header);
  int errnum = mp_netlink_ask_(nl, message, see_route, restart, &self);
  if (errnum) {
    mp_netlink_routes_reset(&self.routes);
    return mp_netlink_fail_(nl, err, errnum, "could not list the network's routes");
  }
  *routes = self.routes;
  return 0;
}

/* -- Changing --------------------------------------------------------------------------------- */

static const struct {
  int type, flags;
  const char *verb;
} changes[] = {
    [MP_NETLINK_ADD] = {RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, "add"},
    [MP_NETLINK_REPLACE] = {RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, "replace"},
    [MP_NETLINK_DELETE] = {RTM_DELROUTE, 0, "delete"},
};

static unsigned char scope_of(const mp_netlink_new_route *route, bool deleting) {
  if (deleting)
    return RT_SCOPE_NOWHERE; /* whatever it is */
  return route->type == RTN_UNICAST && route->via.family == 0 && route->link ? RT_SCOPE_LINK
                                                                             : RT_SCOPE_UNIVERSE;
}

static void put_route(struct nl_msg *message, const mp_netlink_new_route *route, int index) {
  if (route->destination.length > 0)
    mp_netlink_put_address_(message, RTA_DST, &route->destination);
  if (route->via.family)
    mp_netlink_put_address_(message, RTA_GATEWAY, &route->via);
  if (route->source.family)
    mp_netlink_put_address_(message, RTA_PREFSRC, &route->source);
  if (index)
    mp_netlink_put_u32_(message, RTA_OIF, (unsigned)index);
  if (route->metric)
    mp_netlink_put_u32_(message, RTA_PRIORITY, route->metric);
  mp_netlink_put_u32_(message, RTA_TABLE, route->table ? route->table : MP_NETLINK_TABLE_MAIN);
}

static int refused(const mp_netlink *nl, const char *verb, const mp_netlink_new_route *route,
                   int errnum, mp_error *err) {
  char text[MP_NETLINK_PREFIX_TEXT];
  mp_netlink_prefix_format(&route->destination, true, text);
  return mp_netlink_fail_(nl, err, errnum, "could not %s the route to `%s`%s%s%s", verb, text,
                          route->link ? " on the link `" : "", route->link ? route->link : "",
                          route->link ? "`" : "");
}

int mp_netlink_change_route(mp_netlink *nl, mp_netlink_route_change change,
                            const mp_netlink_new_route *route, mp_error *err) {
  int index = 0;
  bool deleting = change == MP_NETLINK_DELETE;
  if (route->link && mp_netlink_index_(nl, route->link, &index, err) < 0)
    return -1;
  struct rtmsg header = {
      .rtm_family = (unsigned char)route->destination.family,
      .rtm_dst_len = (unsigned char)route->destination.length,
      .rtm_table = RT_TABLE_UNSPEC,
      .rtm_protocol = deleting ? RTPROT_UNSPEC : RTPROT_STATIC,
      .rtm_scope = scope_of(route, deleting),
      .rtm_type =
          (unsigned char)(deleting && route->type == RTN_UNICAST ? RTN_UNSPEC : route->type),
  };
  struct nl_msg *message =
      mp_netlink_message_(changes[change].type, changes[change].flags, &header, sizeof header);
  put_route(message, route, index);
  int errnum = mp_netlink_ask_(nl, message, NULL, NULL, NULL);
  return errnum ? refused(nl, changes[change].verb, route, errnum, err) : 0;
}
