/* Errors in texts that people write: each says where, as `source:line:column`. Shared by the
 * bindings that parse. */
#ifndef MP_LUA_TEXT_ERROR_H
#define MP_LUA_TEXT_ERROR_H

#include <lua.h>
#include <stddef.h>

typedef struct {
  const char *source; /* file name or the like; NULL where there is none */
  size_t line;        /* of the text's first byte, from 1 */
  size_t column;
} mp_text_origin;

/* Where the byte at `offset` stands: line and column (in characters) from 1. */
void mp_text_locate(const mp_text_origin *origin, const char *text, size_t len, size_t offset,
                    size_t *line, size_t *column);

/* Raises {kind, code, message, line, column, source} for the byte at `offset`, with what stands
 * around it as an excerpt. kind, code: static strings. `why` is copied first. */
int mp_text_raise(lua_State *L, const char *kind, const char *code, const mp_text_origin *origin,
                  const char *text, size_t len, size_t offset, const char *why);

#endif
