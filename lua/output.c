#include "output.h"

#include "errors.h"
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static int first_failure; /* errno; stdio keeps only that there was one */

static int raise_reader_gone(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, "output", "EPIPE", "nobody reads the output any more");
  mp_push_error(L, &err);
  lua_pushboolean(L, true);
  lua_setfield(L, -2, "quiet");
  lua_pushinteger(L, 128 + SIGPIPE);
  lua_setfield(L, -2, "exit");
  return lua_error(L);
}

void mp_output_failed(lua_State *L, int errnum) {
  if (first_failure == 0)
    first_failure = errnum;
  if (errnum == EPIPE && mp_runtime_of(L)->is_script)
    raise_reader_gone(L);
}

static bool put(const char *bytes, size_t len) {
  return fwrite(bytes, 1, len, stdout) == len;
}

static int l_print(lua_State *L) {
  int count = lua_gettop(L);
  bool written = true;
  for (int i = 1; i <= count; i++) {
    size_t len;
    const char *text = luaL_tolstring(L, i, &len);
    written &= (i == 1 || put("\t", 1)) && put(text, len);
    lua_pop(L, 1);
  }
  if (!(written & put("\n", 1)) || fflush(stdout) != 0)
    mp_output_failed(L, errno);
  return 0;
}

void mp_install_print(lua_State *L) {
  lua_register(L, "print", l_print);
}

static bool reader_is_gone(void) {
  struct pollfd fd = {.fd = STDOUT_FILENO};
  return poll(&fd, 1, 0) == 1 && (fd.revents & (POLLERR | POLLHUP));
}

int mp_output_finish(void) {
  if (fflush(stdout) != 0 && first_failure == 0)
    first_failure = errno;
  if (first_failure == 0 && ferror(stdout)) /* in a flush of the script's */
    first_failure = reader_is_gone() ? EPIPE : EIO;
  return first_failure;
}

void mp_output_open_standard(void) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0)
      return;
  }
}
