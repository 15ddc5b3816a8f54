/* Watching standard input on the loop. */
#ifndef MP_LUA_STDIN_WATCH_H
#define MP_LUA_STDIN_WATCH_H

#include "core/error.h"

#include <stdbool.h>
#include <uv.h>

typedef struct mp_stdin_watch mp_stdin_watch;

/* Calls on_readable(data) whenever standard input has bytes to read, or is at its end, until
 * mp_stdin_watch_close. Unlike uv_poll on the descriptor itself, it does not make standard input
 * non-blocking: whoever shares it (the shell, a child process) would read errors. */
mp_stdin_watch *mp_stdin_watch_open(uv_loop_t *loop, void (*on_readable)(void *data), void *data,
                                    mp_error *err);
void mp_stdin_watch_close(mp_stdin_watch *watch);

/* True while anybody watches it: the prompt, or who reads a line. */
bool mp_stdin_is_watched(void);

/* True when a read of standard input would return now: with bytes, the end, or an error. */
bool mp_stdin_is_readable(void);

#endif
