/* Lines of standard input, without blocking the loop. */
#ifndef MP_LUA_STDIN_LINE_H
#define MP_LUA_STDIN_LINE_H

#include <lua.h>

/* The Lua function read_line(): the next line without its newline, nil at the end of the input.
 * Takes no more from standard input than the line, so that what comes next belongs to whoever reads
 * then (io.read, a child process). One task at a time may wait in it. */
int mp_read_stdin_line(lua_State *L);

#endif
