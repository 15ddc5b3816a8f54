#include "screen.h"

#include "core/buf.h"
#include "core/mem.h"
#include "core/scrub.h"
#include "task.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

typedef struct {
  int fd;
  FILE **standard;  /* the variable: &stdout or &stderr */
  FILE *real;       /* what it was */
  luaL_Stream *lua; /* io.stdout or io.stderr */
} stream;

static struct {
  bool open;
  uv_prepare_t *prepare;
  const mp_screen_footer *footer;
  bool hidden;  /* the footer is to be shown before the loop waits */
  bool in_line; /* the last text written did not end in a newline */
  stream streams[2];
  char *text; /* of the text footer, when that is the footer */
} screen;

/* Writing. */

static void write_all(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t put = write(fd, bytes, len);
    if (put < 0 && errno == EAGAIN) { /* whoever shares the terminal made it so */
      struct pollfd ready = {.fd = fd, .events = POLLOUT};
      poll(&ready, 1, -1);
    } else if (put < 0 && errno != EINTR) {
      return; /* the terminal is gone */
    } else if (put > 0) {
      bytes += put;
      len -= (size_t)put;
    }
  }
}

void mp_screen_show_footer(void) {
  if (!screen.hidden || screen.footer == NULL)
    return;
  uv_prepare_stop(screen.prepare);
  mp_screen_fresh_line();
  screen.hidden = false;
  screen.footer->show();
}

static void before_waiting(uv_prepare_t *prepare) {
  (void)prepare;
  mp_screen_show_footer();
}

static void hide_footer(void) {
  if (screen.footer == NULL || screen.hidden)
    return;
  screen.footer->hide();
  screen.hidden = true;
  uv_prepare_start(screen.prepare, before_waiting);
}

static ssize_t screen_write(void *cookie, const char *bytes, size_t len) {
  const stream *self = cookie;
  if (len == 0)
    return 0;
  hide_footer();
  size_t clean_len = len;
  mp_auto_free char *clean = mp_scrub_needed() ? mp_scrub_copy(bytes, len, &clean_len) : NULL;
  write_all(self->fd, clean ? clean : bytes, clean_len);
  screen.in_line = bytes[len - 1] != '\n';
  return (ssize_t)len;
}

void mp_screen_fresh_line(void) {
  fflush(stdout);
  if (screen.in_line)
    write_all(STDOUT_FILENO, "\n", 1);
  screen.in_line = false;
}

void mp_screen_set_footer(const mp_screen_footer *footer, bool shown) {
  if (!screen.open)
    return;
  fflush(stdout);
  if (screen.footer && !screen.hidden)
    screen.footer->hide();
  uv_prepare_stop(screen.prepare);
  screen.footer = footer;
  screen.hidden = footer && !shown;
  if (shown)
    screen.in_line = false;
  if (screen.hidden)
    uv_prepare_start(screen.prepare, before_waiting);
}

void mp_screen_leave_footer(void) {
  if (!screen.open)
    return;
  uv_prepare_stop(screen.prepare);
  screen.footer = NULL;
  screen.hidden = screen.in_line = false;
}

/* Opening and closing. */

static void wrap(lua_State *L, stream *self, int fd, FILE **standard, const char *name) {
  *self = (stream){.fd = fd, .standard = standard, .real = *standard};
  if (!isatty(fd))
    return;
  fflush(self->real);
  FILE *wrapped = fopencookie(self, "w", (cookie_io_functions_t){.write = screen_write});
  if (wrapped == NULL)
    return;
  setvbuf(wrapped, NULL, fd == STDERR_FILENO ? _IONBF : _IOLBF, BUFSIZ);
  lua_getglobal(L, "io");
  lua_getfield(L, -1, name);
  luaL_Stream *lua = luaL_testudata(L, -1, LUA_FILEHANDLE);
  if (lua && lua->f == self->real) {
    lua->f = wrapped;
    self->lua = lua;
  }
  lua_pop(L, 2);
  *standard = wrapped;
}

static void unwrap(stream *self) {
  FILE *wrapped = *self->standard;
  if (wrapped == self->real)
    return;
  *self->standard = self->real;
  if (self->lua)
    self->lua->f = self->real;
  fclose(wrapped);
}

static void free_prepare(uv_handle_t *handle) {
  free(handle);
}

static int close_screen(lua_State *L) {
  (void)L;
  mp_screen_set_footer(NULL, false);
  unwrap(&screen.streams[0]);
  unwrap(&screen.streams[1]);
  uv_close((uv_handle_t *)screen.prepare, free_prepare);
  free(screen.text);
  memset(&screen, 0, sizeof screen);
  return 0;
}

void mp_screen_open(lua_State *L) {
  if (screen.open)
    return;
  screen.open = true;
  screen.prepare = mp_alloc(sizeof *screen.prepare);
  uv_prepare_init(&mp_loop_of(L)->uv, screen.prepare);
  uv_unref((uv_handle_t *)screen.prepare);
  lua_newuserdatauv(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, close_screen);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &screen);
  wrap(L, &screen.streams[0], STDOUT_FILENO, &stdout, "stdout");
  wrap(L, &screen.streams[1], STDERR_FILENO, &stderr, "stderr");
}

/* The text footer. */

static void show_text(void) {
  write_all(STDERR_FILENO, screen.text, strlen(screen.text));
}

/* Line by line: some terminals keep what is cleared from the top of the screen on. */
static void hide_text(void) {
  mp_auto_buf mp_buf codes = MP_BUF_INIT;
  mp_buf_puts(&codes, "\r\x1b[2K");
  for (const char *c = screen.text; *c; c++) {
    if (*c == '\n')
      mp_buf_puts(&codes, "\x1b[A\x1b[2K");
  }
  write_all(STDERR_FILENO, codes.data, codes.len);
}

int mp_screen_text_footer(lua_State *L) {
  static const mp_screen_footer text_footer = {hide_text, show_text};
  const char *text = luaL_optstring(L, 1, NULL);
  bool other = screen.footer && screen.footer != &text_footer;
  if (other || !isatty(STDERR_FILENO)) {
    lua_pushboolean(L, false);
    return 1;
  }
  if (text)
    mp_screen_open(L);
  mp_screen_set_footer(NULL, false);
  free(screen.text);
  screen.text = mp_scrub_text(text);
  if (text)
    mp_screen_set_footer(&text_footer, false);
  lua_pushboolean(L, true);
  return 1;
}
