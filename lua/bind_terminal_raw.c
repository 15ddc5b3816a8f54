/* moonport.core.terminal.raw: the terminal as a stream of bytes, for whoever passes it on to a
 * command that has a terminal of its own. */
#include "bind_terminal_raw.h"

#include "bind_stream.h"
#include "errors.h"
#include "task.h"
#include "terminal_guard.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool is_raw;

/* A description of its own: to make the one that the shell shares non-blocking would break it. */
static int open_again(lua_State *L) {
  char name[64];
  int errnum = ttyname_r(STDIN_FILENO, name, sizeof name);
  if (errnum != 0)
    mp_raise(L, "terminal", "refused", NULL, "standard input is no terminal");
  int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd < 0)
    mp_raise(L, "terminal", "refused", NULL, "could not open the terminal `%s`", name);
  return fd;
}

/* Without Ctrl-C, echo and line editing: all of that is done by the terminal at the other end. */
int mp_terminal_raw(lua_State *L) {
  if (is_raw)
    mp_raise(L, "terminal", "busy", NULL, "the terminal is passed on to another command");
  mp_lua_stream *stream = mp_lua_stream_new(L, true, "terminal");
  int fd = open_again(L);
  mp_error err = MP_ERROR_INIT;
  if (mp_stream_open(mp_loop_of(L), fd, MP_STREAM_TERMINAL, &stream->stream, &err) < 0)
    return mp_throw(L, &err);
  tcgetattr(STDIN_FILENO, &before);
  struct termios raw = before;
  cfmakeraw(&raw);
  mp_terminal_guard_on();
  is_raw = true;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  return 1;
}

int mp_terminal_cooked(lua_State *L) {
  (void)L;
  if (!is_raw)
    return 0;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
  mp_terminal_guard_off();
  is_raw = false;
  return 0;
}
