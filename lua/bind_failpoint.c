/* moonport.core.failpoint: ends this process as `kill -9` does, with nothing flushed or closed. */
#include "bind_failpoint.h"

#include <lauxlib.h>
#include <signal.h>
#include <sys/auxv.h>
#include <unistd.h>

/* die(): nothing in a process that has more privileges than its caller. */
static int l_die(lua_State *L) {
  (void)L;
  if (!getauxval(AT_SECURE))
    kill(getpid(), SIGKILL);
  return 0;
}

int luaopen_moonport_failpoint(lua_State *L) {
  static const luaL_Reg functions[] = {{"die", l_die}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
