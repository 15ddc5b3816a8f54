/* The session: the task that an interactive loop runs in.
 *
 * A session outlives the lines it runs. What a line spawns belongs to the session, so that it goes
 * on when the line has ended; when it fails, that is reported and cancels nothing. Ctrl-C cancels
 * the running line, or is told to whoever reads the next one, and never ends the session; SIGTERM
 * and SIGHUP do. */
#ifndef MP_LUA_SESSION_H
#define MP_LUA_SESSION_H

#include "runtime.h"

/* The module `moonport.core.session`. */
int luaopen_moonport_session(lua_State *L);

/* The chunk name of what is typed at the prompt. A call of task.spawn made there, rather than in a
 * function of a module, makes a task of the session. */
#define MP_SESSION_CHUNK "=prompt"

#endif
