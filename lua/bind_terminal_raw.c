/* moonport.core.terminal.raw: the terminal as a stream of bytes, for whoever passes it on to a
 * command that has a terminal of its own. */
#include "bind_terminal_raw.h"

#include "bind_stream.h"
#include "errors.h"
#include "gate.h"
#include "task.h"
#include "terminal_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
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

int mp_terminal_open(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct termios raw;
  mp_error err = MP_ERROR_INIT;
  mp_gate(L, "terminal.open", "open the terminal `%s`", path);
  mp_lua_stream *stream = mp_lua_stream_new(L, true, "terminal");
  int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    mp_error_errno(&err, "terminal", errno, "could not open the terminal `%s`", path);
    return mp_throw(L, &err);
  }
  if (tcgetattr(fd, &raw) < 0) {
    close(fd);
    mp_raise(L, "terminal", "refused", NULL, "`%s` is no terminal", path);
  }
  cfmakeraw(&raw);
  tcsetattr(fd, TCSANOW, &raw);
  if (mp_stream_open(mp_loop_of(L), fd, MP_STREAM_TERMINAL, &stream->stream, &err) < 0)
    return mp_throw(L, &err);
  return 1;
}

int mp_terminal_resize(lua_State *L) {
  const mp_lua_stream *self = mp_lua_stream_check(L, 1);
  struct winsize size = {
      .ws_row = (unsigned short)luaL_checkinteger(L, 2),
      .ws_col = (unsigned short)luaL_checkinteger(L, 3),
  };
  mp_gate(L, "terminal.resize", "change a terminal's size");
  ioctl(mp_stream_fd(self->stream), TIOCSWINSZ, &size);
  return 0;
}
