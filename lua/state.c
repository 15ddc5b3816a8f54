#include "state.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

/* An error outside of every protected call; Lua aborts then. */
static int panic(lua_State *L) {
  const char *message = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "no text";
  fprintf(stderr, "moonport: an error that nothing protects from: %s\n", message);
  return 0;
}

static void warn_off(void *data, const char *message, int to_continue);
static void warn_on(void *data, const char *message, int to_continue);

/* `warn("@on")` and `warn("@off")` (Lua's manual, 6.1). */
static bool is_control(lua_State *L, const char *message, int to_continue) {
  if (to_continue || message[0] != '@')
    return false;
  if (strcmp(message, "@off") == 0)
    lua_setwarnf(L, warn_off, L);
  else if (strcmp(message, "@on") == 0)
    lua_setwarnf(L, warn_on, L);
  return true;
}

static void warn_off(void *data, const char *message, int to_continue) {
  is_control(data, message, to_continue);
}

static void warn_more(void *data, const char *message, int to_continue) {
  fputs(message, stderr);
  if (to_continue) {
    lua_setwarnf(data, warn_more, data);
  } else {
    fputc('\n', stderr);
    lua_setwarnf(data, warn_on, data);
  }
}

static void warn_on(void *data, const char *message, int to_continue) {
  if (is_control(data, message, to_continue))
    return;
  fputs("Lua warning: ", stderr);
  warn_more(data, message, to_continue);
}

lua_State *mp_state_new(mp_heap *heap) {
  lua_State *L = lua_newstate(mp_heap_alloc, heap);
  if (L) {
    lua_atpanic(L, panic);
    lua_setwarnf(L, warn_off, L);
  }
  return L;
}
