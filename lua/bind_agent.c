/*** The lines of the channel to a guest's agent; their format is told in core/shim/shim.h.
 * @module moonport.core.agent
 */
#include "bind_agent.h"

#include "core/shim/escape.h"
#include "errors.h"
#include "secret.h"

#include <lauxlib.h>
#include <string.h>

/* Bytes on one line: escaped, they are at most twice as many, and the agent takes lines of 1023. */
enum { PIECE = 500 };

/*** Bytes as lines that each begin with a word.
 * @function lines
 * @tparam string word such as `in`
 * @tparam string|secret bytes
 * @tparam[opt=1] integer from where to begin in them
 * @tparam[opt] integer most how many to take; all unless told
 * @treturn string|secret no line for no bytes
 * @treturn integer how many were taken
 */
static int l_lines(lua_State *L) {
  size_t word_len, len;
  const char *word = luaL_checklstring(L, 1, &word_len);
  const char *bytes = mp_secret_tolstring(L, 2, &len);
  if (bytes == NULL)
    return mp_bad_argument(L, "agent.lines wants a string or a secret, got a %s",
                           luaL_typename(L, 2));
  size_t from = (size_t)luaL_optinteger(L, 3, 1) - 1;
  size_t most = (size_t)luaL_optinteger(L, 4, (lua_Integer)len);
  luaL_argcheck(L, from <= len, 3, "outside of the bytes");
  size_t end = most < len - from ? from + most : len;
  size_t pieces = (end - from + PIECE - 1) / PIECE, used = 0;
  char *out = lua_newuserdatauv(L, pieces * (word_len + 2) + 2 * (end - from) + 1, 0);
  for (size_t at = from; at < end; at += PIECE) {
    memcpy(out + used, word, word_len);
    used += word_len;
    out[used++] = ' ';
    used += mp_shim_escape(bytes + at, end - at < PIECE ? end - at : PIECE, out + used);
    out[used++] = '\n';
  }
  if (mp_is_secret(L, 2))
    mp_push_encoded_secret(L, out, used, "agent");
  else
    lua_pushlstring(L, out, used);
  lua_pushinteger(L, (lua_Integer)(end - from));
  return 2;
}

/*** The bytes that stand on a line.
 * @function bytes
 * @tparam string text the line, without its newline
 * @tparam integer from where they begin in it
 * @treturn string
 */
static int l_bytes(lua_State *L) {
  size_t len;
  luaL_Buffer buffer;
  const char *text = luaL_checklstring(L, 1, &len);
  lua_Integer from = luaL_checkinteger(L, 2);
  luaL_argcheck(L, from >= 1 && (size_t)from <= len + 1, 2, "outside of the line");
  size_t count = len - (size_t)(from - 1);
  char *out = luaL_buffinitsize(L, &buffer, count);
  memcpy(out, text + from - 1, count);
  luaL_pushresultsize(&buffer, mp_shim_unescape(out, count));
  return 1;
}

static bool is_read(const char *line, size_t len) {
  static const char *const whole[] = {"",       "status", "version",      "wait",
                                      "events", "hello",  "CONNECT 1024", "network"};
  static const char *const begin[] = {"hello ", "network "};
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
    if (len == strlen(whole[i]) && memcmp(line, whole[i], len) == 0)
      return true;
  for (size_t i = 0; i < sizeof begin / sizeof *begin; i++)
    if (len > strlen(begin[i]) && memcmp(line, begin[i], strlen(begin[i])) == 0)
      return true;
  return false;
}

bool mp_agent_only_reads(const char *bytes, size_t len) {
  const char *end = bytes + len;
  while (bytes < end) {
    const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
    if (newline == NULL || !is_read(bytes, (size_t)(newline - bytes)))
      return false;
    bytes = newline + 1;
  }
  return true;
}

int luaopen_moonport_agent(lua_State *L) {
  static const luaL_Reg functions[] = {{"lines", l_lines}, {"bytes", l_bytes}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
