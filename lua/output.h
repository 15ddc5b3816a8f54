/* Standard output, as scripts write to it.
 *
 * SIGPIPE is ignored, since a connection that breaks must not end the program. So what the signal
 * does for other programs is done here: a script whose reader has gone (`moonport run x.lua | head
 * -1`) gets an error from print and the stock writers, rather than printing to nobody for ever. */
#ifndef MP_LUA_OUTPUT_H
#define MP_LUA_OUTPUT_H

#include <lua.h>

/* Puts a `print` in place that looks at what its write gave. */
void mp_install_print(lua_State *L);

/* A write to standard output has failed with `errnum`. In a script, raises {kind="output",
 * code="EPIPE"} when its reader has gone, which where nobody catches it ends the program without a
 * word, as SIGPIPE does. A command goes on: to undo a deployment because nobody
 * reads how it goes would help nobody. */
void mp_output_failed(lua_State *L, int errnum);

/* At the program's end: writes out what is buffered. Returns 0, or the errno of what was lost since
 * the start (EPIPE: the reader has gone). */
int mp_output_finish(void);

/* Opens /dev/null for each of the standard descriptors that is closed, before anything else gets
 * its number and is written to as if it were the terminal. */
void mp_output_open_standard(void);

#endif
