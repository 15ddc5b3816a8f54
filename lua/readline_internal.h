/* Shared by the files of the prompt: bind_readline.c, readline_complete.c. */
#ifndef MP_LUA_READLINE_INTERNAL_H
#define MP_LUA_READLINE_INTERNAL_H

#include "readline_api.h"

#include <lua.h>

/* Binds TAB. completer(line, point) is called with the text typed so far and the cursor's place in
 * it, in bytes; it gives where what it completes begins, the candidates that may stand there, what
 * is to follow a single one, and how to list them where that differs. It runs outside of any task
 * and cannot wait. The function is on top of L and is popped. */
void mp_readline_set_completer(lua_State *L, const mp_readline_api *rl);

#endif
