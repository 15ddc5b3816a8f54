/* moonport.core.clock: the time in seconds, with its fraction. */
#include "bind_clock.h"

#include <lauxlib.h>
#include <time.h>

static int push_clock(lua_State *L, clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
  return 1;
}

/* now(): since 1970 */
static int l_now(lua_State *L) {
  return push_clock(L, CLOCK_REALTIME);
}

/* monotonic(): for durations; unaffected by anyone setting the clock */
static int l_monotonic(lua_State *L) {
  return push_clock(L, CLOCK_MONOTONIC);
}

/* cpu(): what this process has used */
static int l_cpu(lua_State *L) {
  return push_clock(L, CLOCK_PROCESS_CPUTIME_ID);
}

int luaopen_moonport_clock(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"now", l_now}, {"monotonic", l_monotonic}, {"cpu", l_cpu}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
