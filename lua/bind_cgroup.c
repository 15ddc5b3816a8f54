/* moonport.core.cgroup: control groups as objects. */
#include "bind_cgroup.h"

#include "bind_sys.h"
#include "class.h"
#include "core/cgroup_wait.h"
#include "core/mem.h"
#include "errors.h"
#include "gate.h"
#include "task.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>

#define CGROUP_METATABLE "moonport.cgroup"

typedef struct {
  mp_cgroup *group;          /* NULL until it is there */
  mp_cgroup_missing missing; /* of the last call that set limits */
} object;

static object *check_object(lua_State *L) {
  object *self = luaL_checkudata(L, 1, CGROUP_METATABLE);
  if (self->group == NULL)
    mp_bad_argument(L, "a cgroup that could not be made");
  return self;
}

const mp_cgroup *mp_lua_check_cgroup(lua_State *L, int index) {
  const object *self = luaL_testudata(L, index, CGROUP_METATABLE);
  if (self == NULL || self->group == NULL)
    mp_bad_argument(L, "a cgroup is wanted, as cgroup.create gives it, not a %s",
                    luaL_typename(L, index));
  return self->group;
}

static object *push_object(lua_State *L) {
  object *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (object){.group = NULL};
  luaL_setmetatable(L, CGROUP_METATABLE);
  return self;
}

static int cgroup_gc(lua_State *L) {
  object *self = luaL_checkudata(L, 1, CGROUP_METATABLE);
  mp_cgroup_free(mp_steal(self->group));
  mp_cgroup_missing_reset(&self->missing);
  return 0;
}

/* -- Limits ----------------------------------------------------------------------------------- */

static uint64_t count_field(lua_State *L, int index, const char *name) {
  if (lua_getfield(L, index, name) != LUA_TNIL &&
      (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1))
    mp_bad_argument(L, "the limit `%s` wants a whole number above 0", name);
  uint64_t value = (uint64_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return value;
}

static void read_limits(lua_State *L, int index, mp_cgroup_limits *limits) {
  luaL_checktype(L, index, LUA_TTABLE);
  limits->memory = count_field(L, index, "memory");
  limits->pids = count_field(L, index, "pids");
  if (lua_getfield(L, index, "cpus") != LUA_TNIL && lua_type(L, -1) != LUA_TNUMBER)
    mp_bad_argument(L, "the limit `cpus` wants a number such as 1.5");
  limits->cpus = lua_tonumber(L, -1);
  lua_pop(L, 1);
}

/* Pushes {memory = error, ...} of the limits that could not be set; empty when all could. */
static void push_missing(lua_State *L, mp_cgroup_missing *missing) {
  lua_newtable(L);
  for (int i = 0; i < MP_CGROUP_LIMITS; i++) {
    if (missing->of[i].domain == NULL)
      continue;
    mp_push_error(L, &missing->of[i]);
    lua_setfield(L, -2, mp_cgroup_limit_name(i));
  }
}

/* create(name, limits): group, missing */
static int l_create(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  mp_cgroup_limits limits = {0};
  const char *name = luaL_checkstring(L, 1);
  bool limited = !lua_isnoneornil(L, 2);
  if (limited)
    read_limits(L, 2, &limits);
  mp_gate(L, "cgroup.create", "make the cgroup `%s`", name);
  object *self = push_object(L);
  if (mp_cgroup_create(name, limited ? &limits : NULL, &self->group, &self->missing, &err) < 0)
    return mp_throw(L, &err);
  push_missing(L, &self->missing);
  return 2;
}

/* open(name): nil where there is none */
static int l_open(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  const char *name = luaL_checkstring(L, 1);
  object *self = push_object(L);
  if (mp_cgroup_open(name, &self->group, &err) == 0)
    return 1;
  if (!mp_error_is(&err, "ENOENT"))
    return mp_throw(L, &err);
  mp_error_reset(&err);
  lua_pushnil(L);
  return 1;
}

/* list(parent) */
static int l_list(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  char **names;
  size_t count;
  if (mp_cgroup_list(luaL_checkstring(L, 1), &names, &count, &err) < 0)
    return mp_throw(L, &err);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushstring(L, names[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
    free(names[i]);
  }
  free(names);
  return 1;
}

/* set(group, limits): missing */
static int cgroup_set(lua_State *L) {
  mp_cgroup_limits limits = {0};
  object *self = check_object(L);
  read_limits(L, 2, &limits);
  mp_gate(L, "cgroup:set", "limit the cgroup `%s`", mp_cgroup_name(self->group));
  mp_cgroup_set(self->group, &limits, &self->missing);
  push_missing(L, &self->missing);
  return 1;
}

/* -- Reading ---------------------------------------------------------------------------------- */

static int cgroup_name(lua_State *L) {
  lua_pushstring(L, mp_cgroup_name(check_object(L)->group));
  return 1;
}

static int cgroup_paths(lua_State *L) {
  const char *const *paths = mp_cgroup_paths(check_object(L)->group);
  lua_newtable(L);
  for (lua_Integer i = 0; paths[i]; i++) {
    lua_pushstring(L, paths[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static void set_known(lua_State *L, const char *name, uint64_t value) {
  if (value == MP_CGROUP_UNKNOWN)
    return;
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, name);
}

static int cgroup_usage(lua_State *L) {
  mp_cgroup_usage usage;
  mp_cgroup_read_usage(check_object(L)->group, &usage);
  lua_createtable(L, 0, 5);
  set_known(L, "memory", usage.memory);
  set_known(L, "memory_peak", usage.memory_peak);
  set_known(L, "oom_kills", usage.oom_kills);
  set_known(L, "pids", usage.pids);
  if (usage.cpu_usec != MP_CGROUP_UNKNOWN) {
    lua_pushnumber(L, (lua_Number)usage.cpu_usec / 1e6);
    lua_setfield(L, -2, "cpu");
  }
  return 1;
}

static int cgroup_processes(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  pid_t *pids;
  size_t count;
  if (mp_cgroup_processes(check_object(L)->group, &pids, &count, &err) < 0)
    return mp_throw(L, &err);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushinteger(L, pids[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  free(pids);
  return 1;
}

/* -- Acting ----------------------------------------------------------------------------------- */

static int cgroup_signal(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  const object *self = check_object(L);
  int number = mp_lua_check_signal(L, 2, 0);
  mp_gate(L, "cgroup:signal", "signal all of the cgroup `%s`", mp_cgroup_name(self->group));
  if (mp_cgroup_signal(self->group, number, &err) < 0)
    return mp_throw(L, &err);
  return 0;
}

static int cgroup_freeze(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  const object *self = check_object(L);
  luaL_checktype(L, 2, LUA_TBOOLEAN);
  mp_gate(L, "cgroup:freeze", "freeze or thaw the cgroup `%s`", mp_cgroup_name(self->group));
  if (mp_cgroup_freeze(self->group, lua_toboolean(L, 2), &err) < 0)
    return mp_throw(L, &err);
  return 0;
}

static int cgroup_remove(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  const object *self = check_object(L);
  mp_gate(L, "cgroup:remove", "remove the cgroup `%s`", mp_cgroup_name(self->group));
  if (mp_cgroup_remove(self->group, &err) < 0)
    return mp_throw(L, &err);
  return 0;
}

static void emptied(void *data, const mp_error *err) {
  mp_wait *wait = data;
  mp_wait_fail(wait, err);
  mp_wait_done(wait);
}

static int nothing(lua_State *L, mp_wait *wait) {
  (void)L;
  (void)wait;
  return 0;
}

/* wait(group, timeout): until no process is left */
static int cgroup_wait(lua_State *L) {
  const object *self = check_object(L);
  lua_Number seconds = luaL_optnumber(L, 2, 0);
  if (!(seconds >= 0 && seconds < 1e10))
    return mp_bad_argument(L, "a timeout is a number of seconds");
  lua_settop(L, 1);
  mp_wait *wait = mp_wait_new(L, sizeof *wait, "cgroup:wait", nothing);
  uint64_t timeout = (uint64_t)(seconds * 1000);
  wait->op = mp_cgroup_wait_start(mp_loop_of(L), self->group, timeout, emptied, wait);
  return mp_wait_yield(L, wait);
}

int luaopen_moonport_cgroup(lua_State *L) {
  static const luaL_Reg methods[] = {{"set", cgroup_set},
                                     {"name", cgroup_name},
                                     {"paths", cgroup_paths},
                                     {"usage", cgroup_usage},
                                     {"processes", cgroup_processes},
                                     {"signal", cgroup_signal},
                                     {"freeze", cgroup_freeze},
                                     {"remove", cgroup_remove},
                                     {"wait", cgroup_wait},
                                     {"__gc", cgroup_gc},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"create", l_create}, {"open", l_open}, {"list", l_list}, {NULL, NULL}};
  mp_class(L, CGROUP_METATABLE, methods);
  luaL_newlib(L, functions);
  return 1;
}
