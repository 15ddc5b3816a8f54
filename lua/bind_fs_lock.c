/* The part of moonport.core.fs that lasts: locks and watches. */
#include "bind_fs.h"

#include "core/fs_lock.h"
#include "core/fs_watch.h"
#include "core/mem.h"
#include "errors.h"
#include "gate.h"
#include "task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Locks */

#define LOCK "moonport.fs.lock"

typedef struct {
  mp_lock *held; /* NULL once released */
} lock_box;

typedef struct {
  mp_wait wait;
  mp_lock *lock;
} lock_wait;

static void lock_taken(void *data, mp_lock *lock, mp_error *err) {
  lock_wait *self = data;
  self->lock = lock;
  mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

/* A lock that came although nobody waits any more. */
static void lock_unwanted(mp_wait *wait) {
  lock_wait *self = (lock_wait *)wait;
  if (self->lock)
    mp_lock_release(self->lock);
  self->lock = NULL;
}

static int lock_finish(lua_State *L, mp_wait *wait) {
  lock_wait *self = (lock_wait *)wait;
  lock_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  box->held = NULL;
  luaL_setmetatable(L, LOCK);
  box->held = mp_steal(self->lock);
  return 1;
}

/* Seconds; without it no wait; true or infinity without an end. */
static int64_t wait_option(lua_State *L, int index) {
  int64_t milliseconds = 0;
  if (lua_getfield(L, index, "wait") == LUA_TBOOLEAN) {
    milliseconds = lua_toboolean(L, -1) ? -1 : 0;
  } else if (!lua_isnil(L, -1)) {
    lua_Number seconds = luaL_checknumber(L, -1);
    luaL_argcheck(L, seconds >= 0, index, "wait must not be negative");
    milliseconds = seconds > 1e9 ? -1 : (int64_t)ceil(seconds * 1000);
  }
  lua_pop(L, 1);
  return milliseconds;
}

static int l_lock(lua_State *L) {
  mp_lock_options options = {.path = luaL_checkstring(L, 1)};
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    options.wait_ms = wait_option(L, 2);
    lua_getfield(L, 2, "shared");
    options.shared = lua_toboolean(L, -1);
  }
  if (access(options.path, F_OK) != 0)
    mp_gate(L, "fs.lock", "make the file `%s`", options.path);
  lock_wait *self = mp_wait_new(L, sizeof *self, "fs.lock", lock_finish);
  self->wait.release = lock_unwanted;
  self->wait.op = mp_lock_start(mp_loop_of(L), &options, lock_taken, self, &self->wait.error);
  if (self->wait.op == NULL)
    return mp_throw(L, &self->wait.error);
  return mp_wait_yield(L, &self->wait);
}

static int lock_release(lua_State *L) {
  lock_box *box = luaL_checkudata(L, 1, LOCK);
  if (box->held)
    mp_lock_release(mp_steal(box->held));
  return 0;
}

/* Watches. The queue is a table in the user value: changes not yet asked for. */

#define WATCH "moonport.fs.watch"
#define CHANGES_MOST 1024

typedef struct {
  char *name;
  const char *kind;
} change;

typedef struct watch_wait watch_wait;

typedef struct {
  mp_watch *watch; /* NULL once closed */
  change queue[CHANGES_MOST];
  size_t first, count;
  bool lost; /* the queue ran over */
  mp_error error;
  watch_wait *waiter;
} watch_box;

struct watch_wait {
  mp_wait wait;
  watch_box *box; /* lives at index 1 of the waiting function */
};

static change *change_at(watch_box *box, size_t index) {
  return &box->queue[(box->first + index) % CHANGES_MOST];
}

static void wake(watch_box *box) {
  watch_wait *waiter = mp_steal(box->waiter);
  if (waiter)
    mp_wait_done(&waiter->wait);
}

static void on_change(void *data, const char *name, const char *kind, mp_error *err) {
  watch_box *box = data;
  if (err)
    mp_error_move(&box->error, err);
  /* A writer makes many alike: one that is still unread says as much. */
  const change *last = box->count > 0 ? change_at(box, box->count - 1) : NULL;
  bool again =
      last && strcmp(last->kind, kind) == 0 && name && last->name && strcmp(last->name, name) == 0;
  if (!err && !again && box->count == CHANGES_MOST)
    box->lost = true;
  else if (!err && !again)
    *change_at(box, box->count++) = (change){.name = mp_strdup(name), .kind = kind};
  wake(box);
}

static bool take_change(watch_box *box, change *taken) {
  if (box->count == 0) {
    if (!box->lost)
      return false;
    box->lost = false;
    *taken = (change){.kind = "lost"};
    return true;
  }
  *taken = *change_at(box, 0);
  box->first = (box->first + 1) % CHANGES_MOST;
  box->count--;
  return true;
}

static int l_watch(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  const char *path = luaL_checkstring(L, 1);
  watch_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  memset(box, 0, sizeof *box);
  luaL_setmetatable(L, WATCH);
  box->watch = mp_watch_start(mp_loop_of(L), path, on_change, box, &err);
  return box->watch ? 1 : mp_throw(L, &err);
}

/* Pushes the next change, or nil where the watch is closed; false when there is none yet. */
static bool push_change(lua_State *L, watch_box *box) {
  change taken;
  if (take_change(box, &taken)) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, taken.kind);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, taken.name);
    lua_setfield(L, -2, "name");
    free(taken.name);
    return true;
  }
  if (box->error.domain)
    mp_throw(L, &box->error);
  if (box->watch)
    return false;
  lua_pushnil(L);
  return true;
}

static int watch_finish(lua_State *L, mp_wait *wait) {
  watch_wait *self = (watch_wait *)wait;
  if (push_change(L, self->box))
    return 1;
  self->box->waiter = self;
  return mp_wait_again(L, wait);
}

static void watch_cancel(mp_wait *wait) {
  watch_wait *self = (watch_wait *)wait;
  self->box->waiter = NULL;
  mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static int watch_next(lua_State *L) {
  watch_box *box = luaL_checkudata(L, 1, WATCH);
  lua_settop(L, 1);
  if (push_change(L, box))
    return 1;
  if (box->waiter)
    return mp_bad_argument(L, "another task waits for this watch's next change");
  watch_wait *self = mp_wait_new(L, sizeof *self, "watch:next", watch_finish);
  self->wait.cancel = watch_cancel;
  self->box = box;
  box->waiter = self;
  return mp_wait_yield(L, &self->wait);
}

static int watch_close(lua_State *L) {
  watch_box *box = luaL_checkudata(L, 1, WATCH);
  change dropped;
  if (box->watch)
    mp_watch_close(mp_steal(box->watch));
  while (take_change(box, &dropped))
    free(dropped.name);
  mp_error_reset(&box->error);
  wake(box);
  return 0;
}

static void make_metatable(lua_State *L, const char *name, const luaL_Reg *methods,
                           lua_CFunction end) {
  static const char *const ends[] = {"__close", "__gc"};
  luaL_newmetatable(L, name);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  for (size_t i = 0; i < 2; i++) {
    lua_pushcfunction(L, end);
    lua_setfield(L, -2, ends[i]);
  }
  lua_pop(L, 1);
}

void fs_set_locks(lua_State *L) {
  static const luaL_Reg lock[] = {{"release", lock_release}, {NULL, NULL}};
  static const luaL_Reg watch[] = {{"next", watch_next}, {"close", watch_close}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"lock", l_lock}, {"watch", l_watch}, {NULL, NULL}};
  make_metatable(L, LOCK, lock, lock_release);
  make_metatable(L, WATCH, watch, watch_close);
  luaL_getmetatable(L, WATCH);
  lua_pushcfunction(L, watch_next);
  lua_setfield(L, -2, "__call"); /* for change in watch do ... end */
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
