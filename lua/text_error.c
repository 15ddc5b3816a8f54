#include "text_error.h"

#include "core/buf.h"
#include "core/encode.h"
#include "core/mem.h"
#include "errors.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define EXCERPT_MOST 40 /* bytes of the line that are shown */

static bool is_continuation(char c) {
  return ((unsigned char)c & 0xc0) == 0x80;
}

void mp_text_locate(const mp_text_origin *origin, const char *text, size_t len, size_t offset,
                    size_t *line, size_t *column) {
  const char *stop = text + (offset < len ? offset : len), *begin = text, *newline;
  *line = origin->line;
  *column = origin->column;
  while ((newline = memchr(begin, '\n', (size_t)(stop - begin))) != NULL) {
    *line += 1;
    *column = 1;
    begin = newline + 1;
  }
  for (; begin < stop; begin++)
    *column += !is_continuation(*begin);
}

static bool is_break(char c) {
  return c == '\n' || c == '\r';
}

/* The part of the line around `offset`, or NULL where it cannot be shown. */
static char *excerpt(const char *text, size_t len, size_t offset) {
  size_t begin = offset < len ? offset : len, end = begin;
  while (begin > 0 && offset - begin < EXCERPT_MOST / 2 && !is_break(text[begin - 1]))
    begin--;
  while (end < len && end - begin < EXCERPT_MOST && !is_break(text[end]))
    end++;
  while (begin < end && (is_continuation(text[begin]) || text[begin] == ' '))
    begin++;
  while (end < len && end > begin && is_continuation(text[end]))
    end--;
  if (begin == end || !mp_utf8_valid(text + begin, end - begin, NULL))
    return NULL;
  for (size_t i = begin; i < end; i++)
    if ((unsigned char)text[i] < 0x20 && text[i] != '\t')
      return NULL;
  return mp_memdup(text + begin, end - begin);
}

static void push_error(lua_State *L, const char *kind, const char *code,
                       const mp_text_origin *origin, const char *text, size_t len, size_t offset,
                       const char *why) {
  size_t line, column;
  mp_text_locate(origin, text, len, offset, &line, &column);
  mp_auto_free char *near = excerpt(text, len, offset);
  mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, kind, code, "%s%s%zu:%zu: %s%s%s%s", origin->source ? origin->source : "",
               origin->source ? ":" : "line ", line, column, why, near ? " near `" : "",
               near ? near : "", near ? "`" : "");
  mp_push_error(L, &err);
  lua_pushinteger(L, (lua_Integer)line);
  lua_setfield(L, -2, "line");
  lua_pushinteger(L, (lua_Integer)column);
  lua_setfield(L, -2, "column");
  lua_pushstring(L, origin->source);
  lua_setfield(L, -2, "source");
}

int mp_text_raise(lua_State *L, const char *kind, const char *code, const mp_text_origin *origin,
                  const char *text, size_t len, size_t offset, const char *why) {
  push_error(L, kind, code, origin, text, len, offset, why);
  return lua_error(L);
}
