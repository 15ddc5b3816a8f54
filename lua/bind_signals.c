#include "bind_signals.h"

#include "bind_sys.h"
#include "core/mem.h"
#include "core/sysinfo.h"
#include "errors.h"
#include "gate.h"
#include "task.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>

#define SIGNALS_METATABLE "moonport.signals"
#define SIGNALS_MAX 16

typedef struct watcher watcher;

/* One signal's handle, which outlives the object until it is closed. */
typedef struct {
  uv_signal_t handle; /* first: a handle is its slot */
  watcher *owner;
  unsigned pending; /* arrived and not taken */
} slot;

typedef struct {
  mp_wait wait;
  watcher *owner;
} signal_wait;

struct watcher {
  slot *slots[SIGNALS_MAX];
  size_t count;
  signal_wait *waiting; /* the task that waits */
  bool closed;
};

/* -- What a signal did before, to be put back ------------------------------------------------- */

static struct {
  unsigned watchers;
  struct sigaction before;
} dispositions[NSIG];

static void remember(int number) {
  if (dispositions[number].watchers++ == 0)
    sigaction(number, NULL, &dispositions[number].before);
}

static void put_back(int number) {
  if (--dispositions[number].watchers == 0)
    sigaction(number, &dispositions[number].before, NULL);
}

/* -- Watching --------------------------------------------------------------------------------- */

static int take(watcher *self) {
  for (size_t i = 0; i < self->count; i++) {
    if (self->slots[i]->pending > 0) {
      self->slots[i]->pending--;
      return self->slots[i]->handle.signum;
    }
  }
  return 0;
}

/* Only what somebody waits for keeps the program running. */
static void keep_running(watcher *self, bool on) {
  for (size_t i = 0; i < self->count; i++) {
    if (on)
      uv_ref((uv_handle_t *)self->slots[i]);
    else
      uv_unref((uv_handle_t *)self->slots[i]);
  }
}

static void begin_waiting(watcher *self, signal_wait *wait) {
  self->waiting = wait;
  keep_running(self, true);
}

static void wake(watcher *self) {
  signal_wait *wait = mp_steal(self->waiting);
  if (wait == NULL)
    return;
  keep_running(self, false);
  mp_wait_done(&wait->wait);
}

static void arrived(uv_signal_t *handle, int number) {
  slot *self = (slot *)handle;
  (void)number;
  self->pending++;
  wake(self->owner);
}

static void slot_closed(uv_handle_t *handle) {
  free(handle);
}

static void close_watcher(watcher *self) {
  if (self->closed)
    return;
  self->closed = true;
  for (size_t i = 0; i < self->count; i++) {
    int number = self->slots[i]->handle.signum;
    uv_signal_stop(&self->slots[i]->handle);
    put_back(number);
    uv_close((uv_handle_t *)self->slots[i], slot_closed);
  }
  self->count = 0;
  wake(self);
}

static watcher *check_watcher(lua_State *L) {
  return luaL_checkudata(L, 1, SIGNALS_METATABLE);
}

static int signals_close(lua_State *L) {
  close_watcher(check_watcher(L));
  return 0;
}

/* -- Waiting ---------------------------------------------------------------------------------- */

static int signal_finish(lua_State *L, mp_wait *wait) {
  watcher *self = ((signal_wait *)wait)->owner;
  int number = take(self);
  if (number == 0 && !self->closed) {
    begin_waiting(self, (signal_wait *)wait);
    return mp_wait_again(L, wait);
  }
  if (number == 0)
    return 0;
  lua_pushstring(L, mp_sys_signal_name(number));
  return 1;
}

static void cancel_signal_wait(mp_wait *wait) {
  mp_wait_cancelled(wait);
  wake(((signal_wait *)wait)->owner);
}

/* wait(), and the call of a for loop: the next signal's name; nothing once it is closed */
static int signals_wait(lua_State *L) {
  watcher *self = check_watcher(L);
  lua_settop(L, 1);
  int number = take(self);
  if (number != 0) {
    lua_pushstring(L, mp_sys_signal_name(number));
    return 1;
  }
  if (self->closed)
    return 0;
  if (self->waiting)
    return mp_raise(L, "sys", "busy", NULL, "another task waits for these signals");
  signal_wait *wait = mp_wait_new(L, sizeof *wait, "sys.signals", signal_finish);
  wait->owner = self;
  wait->wait.cancel = cancel_signal_wait;
  begin_waiting(self, wait);
  return mp_wait_yield(L, &wait->wait);
}

/* -- Making ----------------------------------------------------------------------------------- */

/* Those that end the program come as a cancel to every task, so that all clean up; the others here
 * cannot be caught, or mean that the program is broken. */
static void check_watchable(lua_State *L, int number) {
  static const int watchable[] = {SIGHUP,  SIGUSR1, SIGUSR2, SIGWINCH, SIGQUIT,
                                  SIGALRM, SIGCONT, SIGTSTP, SIGPWR,   SIGURG};
  for (size_t i = 0; i < sizeof watchable / sizeof *watchable; i++) {
    if (watchable[i] == number)
      return;
  }
  mp_raise(L, "sys", MP_INVALID,
           "SIGINT and SIGTERM cancel the tasks: let `<close>` variables clean up",
           "%s cannot be waited for", mp_sys_signal_name(number));
}

static void watch(lua_State *L, watcher *self, int number) {
  mp_error err = MP_ERROR_INIT;
  slot *one = mp_alloc(sizeof *one);
  one->owner = self;
  uv_signal_init(&mp_loop_of(L)->uv, &one->handle);
  uv_unref((uv_handle_t *)&one->handle);
  remember(number);
  int rc = uv_signal_start(&one->handle, arrived, number);
  if (rc < 0) {
    put_back(number);
    uv_close((uv_handle_t *)one, slot_closed);
    mp_error_errno(&err, "sys", rc, "could not watch for %s", mp_sys_signal_name(number));
    mp_throw(L, &err);
  }
  self->slots[self->count++] = one;
}

static void make_metatable(lua_State *L) {
  static const luaL_Reg methods[] = {{"wait", signals_wait},   {"close", signals_close},
                                     {"__call", signals_wait}, {"__close", signals_close},
                                     {"__gc", signals_close},  {NULL, NULL}};
  if (luaL_newmetatable(L, SIGNALS_METATABLE)) {
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
}

int mp_lua_signals(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  size_t count = lua_rawlen(L, 1);
  if (count == 0 || count > SIGNALS_MAX)
    return mp_bad_argument(L, "sys.signals wants 1 to %d signals: {\"SIGHUP\"}", SIGNALS_MAX);
  watcher *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (watcher){0};
  make_metatable(L);
  lua_setmetatable(L, -2);
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, (lua_Integer)i);
    int number = mp_lua_check_signal(L, -1, 0);
    check_watchable(L, number);
    watch(L, self, number);
    lua_pop(L, 1);
  }
  return 1;
}
