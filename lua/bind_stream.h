/* Byte streams in Lua: connections, and the pipes and terminals of processes. */
#ifndef MP_LUA_BIND_STREAM_H
#define MP_LUA_BIND_STREAM_H

#include "core/stream.h"

#include <lua.h>
#include <stdbool.h>

typedef struct {
  mp_stream *stream; /* NULL once it is closed */
  bool owned;        /* closed with the object; else by the process that it belongs to */
  bool (*only_reads)(const char *bytes, size_t len); /* writes that pass a shut gate; may be NULL */
  const char *what; /* for the gate and messages: "net.connection", "process.stdin". Static */
} mp_lua_stream;

/* Pushes an object without a stream yet: fill in ->stream when it is there. Its user value 1 is for
 * the object that the stream belongs to, where it is not `owned`: whoever reads keeps it alive. */
mp_lua_stream *mp_lua_stream_new(lua_State *L, bool owned, const char *what);

/* The stream's object at `index`, which is open; raises else. */
mp_lua_stream *mp_lua_stream_check(lua_State *L, int index);

/* The methods, for objects that have streams: each with the stream's object at index 1. */
int mp_lua_stream_read(lua_State *L);
int mp_lua_stream_read_line(lua_State *L);
int mp_lua_stream_read_all(lua_State *L);
int mp_lua_stream_lines(lua_State *L);
int mp_lua_stream_write(lua_State *L);
int mp_lua_stream_shutdown(lua_State *L);

#endif
