/* moonport.core.terminal: what the standard streams lead to, and how wide text is there. */
#include "bind_terminal.h"

#include "screen.h"
#include "stdin_line.h"

#include <lauxlib.h>
#include <limits.h>
#include <locale.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

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

/* The text is UTF-8 whatever the operator's locale is. C.UTF-8 is built into glibc; where it is
 * missing, each byte counts as a column. */
static locale_t utf8_locale(void) {
  static locale_t locale;
  if (locale == (locale_t)0)
    locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  return locale;
}

/* The bytes of an escape sequence that sets colours ("\x1b[1;31m"), 0 when `text` begins none. */
static size_t colour_sequence(const char *text, size_t len) {
  if (len < 3 || text[0] != '\x1b' || text[1] != '[')
    return 0;
  size_t i = 2;
  while (i < len && ((text[i] >= '0' && text[i] <= '9') || text[i] == ';'))
    i++;
  return i < len && text[i] == 'm' ? i + 1 : 0;
}

/* One character: returns its bytes, sets its columns. A broken byte is one column. */
static size_t next_character(const char *text, size_t len, int *columns) {
  size_t colour = colour_sequence(text, len);
  if (colour) {
    *columns = 0;
    return colour;
  }
  mbstate_t state = {0};
  wchar_t wide;
  size_t bytes = mbrtowc(&wide, text, len, &state);
  if (bytes == 0 || bytes > len) {
    *columns = bytes == 0 ? 0 : 1;
    return 1;
  }
  int width = wcwidth(wide);
  *columns = width < 0 ? 0 : width;
  return bytes;
}

/* The bytes of `text` that fit in `limit` columns; *columns becomes what they take. */
static size_t fit(const char *text, size_t len, long limit, long *columns) {
  locale_t utf8 = utf8_locale();
  locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
  size_t at = 0;
  *columns = 0;
  while (at < len) {
    int wide;
    size_t bytes = next_character(text + at, len - at, &wide);
    if (*columns + wide > limit)
      break;
    *columns += wide;
    at += bytes;
  }
  if (before)
    uselocale(before);
  return at;
}

/* columns(text): how many columns it takes; colour sequences take none */
static int l_columns(lua_State *L) {
  size_t len;
  long columns;
  const char *text = luaL_checklstring(L, 1, &len);
  fit(text, len, LONG_MAX, &columns);
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
  size_t whole = fit(text, len, (long)limit, &columns);
  if (whole == len) {
    lua_settop(L, 1);
    return 1;
  }
  size_t cut = limit > 0 ? fit(text, len, (long)limit - 1, &columns) : 0;
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
                                       {"footer", mp_screen_text_footer},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
