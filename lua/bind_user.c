#include "bind_user.h"

#include "core/user.h"
#include "errors.h"
#include "task.h"

typedef struct {
  mp_wait wait;
  mp_user user; /* owned */
} user_wait;

static void user_found(void *data, mp_user *found, mp_error *err) {
  user_wait *self = data;
  if (err) {
    mp_error_move(&self->wait.error, err);
  } else {
    self->user = *found;
    *found = MP_USER_INIT;
  }
  mp_wait_done(&self->wait);
}

static void user_release(mp_wait *wait) {
  mp_user_reset(&((user_wait *)wait)->user);
}

static int user_finish(lua_State *L, mp_wait *wait) {
  const mp_user *user = &((user_wait *)wait)->user;
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, user->uid);
  lua_setfield(L, -2, "uid");
  lua_pushinteger(L, user->gid);
  lua_setfield(L, -2, "gid");
  lua_pushstring(L, user->name);
  lua_setfield(L, -2, "name");
  lua_pushstring(L, user->home);
  lua_setfield(L, -2, "home");
  lua_createtable(L, (int)user->group_count, 0);
  for (size_t i = 0; i < user->group_count; i++) {
    lua_pushinteger(L, user->groups[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "groups");
  return 1;
}

/* lookup([user[, group]]) */
static int l_lookup(lua_State *L) {
  const char *user = luaL_optstring(L, 1, NULL);
  const char *group = luaL_optstring(L, 2, NULL);
  user_wait *self = mp_wait_new(L, sizeof *self, "sys.user", user_finish);
  self->wait.release = user_release;
  self->wait.op = mp_user_lookup_start(mp_loop_of(L), user, group, user_found, self);
  return mp_wait_yield(L, &self->wait);
}

int luaopen_moonport_user(lua_State *L) {
  static const luaL_Reg functions[] = {{"lookup", l_lookup}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
