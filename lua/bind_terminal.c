/* moonport.core.terminal: what the standard streams lead to, and how wide text is there. */
#include "bind_terminal.h"

#include "bind_terminal_raw.h"
#include "core/columns.h"
#include "screen.h"
#include "stdin_line.h"

#include <lauxlib.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* is_terminal(fd) */
static int l_is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* size(fd) gives columns and rows; nothing where they are not known */
static int l_size(lua_State *L) {
  struct winsize size;
  if (ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
    return 0;
  lua_pushinteger(L, size.ws_col);
  lua_pushinteger(L, size.ws_row);
  return 2;
}

/* columns(text): how many columns it takes; colour sequences take none */
static int l_columns(lua_State *L) {
  size_t len;
  long columns;
  const char *text = luaL_checklstring(L, 1, &len);
  mp_columns_fit(text, len, LONG_MAX, &columns);
  lua_pushinteger(L, columns);
  return 1;
}

/* truncate(text, columns): the beginning that fits, ending in an ellipsis where it was cut */
static int l_truncate(lua_State *L) {
  size_t len;
  long columns;
  const char *text = luaL_checklstring(L, 1, &len);
  lua_Integer limit = luaL_checkinteger(L, 2);
  if (limit < 0)
    limit = 0;
  size_t whole = mp_columns_fit(text, len, (long)limit, &columns);
  if (whole == len) {
    lua_settop(L, 1);
    return 1;
  }
  size_t cut = limit > 0 ? mp_columns_fit(text, len, (long)limit - 1, &columns) : 0;
  lua_pushlstring(L, text, cut);
  if (limit > 0)
    lua_pushliteral(L, "\u2026");
  else
    lua_pushliteral(L, "");
  lua_concat(L, 2);
  return 1;
}

int luaopen_moonport_terminal(lua_State *L) {
  static const luaL_Reg functions[] = {{"is_terminal", l_is_terminal},
                                       {"size", l_size},
                                       {"columns", l_columns},
                                       {"truncate", l_truncate},
                                       {"read_line", mp_read_stdin_line},
                                       {"raw", mp_terminal_raw},
                                       {"cooked", mp_terminal_cooked},
                                       {"open", mp_terminal_open},
                                       {"resize", mp_terminal_resize},
                                       {"footer", mp_screen_text_footer},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
