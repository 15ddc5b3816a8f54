/* moonport.core.readline: a line typed at a prompt, with editing, history and completion, while
 * background tasks go on. */
#include "bind_readline.h"

#include "core/fiber.h"
#include "core/mem.h"
#include "errors.h"
#include "readline_internal.h"
#include "runtime.h"
#include "screen.h"
#include "stdin_watch.h"
#include "task.h"
#include "terminal_guard.h"

#include <errno.h>
#include <langinfo.h>
#include <lauxlib.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum { LINE, END_OF_INPUT, INTERRUPTED } outcome;

typedef struct {
  mp_wait wait;
  outcome outcome;
  char *line;    /* owned */
  bool had_text; /* when interrupted */
} prompt_wait;

/* What exists while a line is read. */
typedef struct {
  prompt_wait *wait;
  const char *prompt; /* borrowed from the Lua stack */
  mp_fiber *fiber;    /* runs readline() */
  mp_stdin_watch *input;
  uv_signal_t resized, suspended;
  int open; /* of the signal handles */
  char *line;
  bool ending;  /* readline() is to return with nothing */
  bool settled; /* and is in the middle of nothing: no search, no key of several bytes */
  int nudges;
} reader;

static const mp_readline_api *rl;
static reader *reading; /* NULL while no line is read */

/* The prompt as the terminal's footer. */

static void hide_prompt(void) {
  rl->rl_clear_visible_line();
  fflush(*rl->rl_outstream);
}

static void show_prompt(void) {
  rl->rl_on_new_line();
  rl->rl_redisplay();
  fflush(*rl->rl_outstream);
}

static const mp_screen_footer prompt_footer = {hide_prompt, show_prompt};

/* On the fiber. readline's callback interface is made for loops like ours, but version 8.2 crashes
 * in it when, in a search, a key of several bytes is typed; readline() itself is what bash uses. */

#define MOST_NUDGES 16

static bool is_settled(void) {
  return (*rl->rl_readline_state &
          (RL_STATE_ISEARCH | RL_STATE_NSEARCH | RL_STATE_NUMERICARG | RL_STATE_METANEXT |
           RL_STATE_MOREINPUT | RL_STATE_MULTIKEY | RL_STATE_VIMOTION | RL_STATE_CHARSEARCH)) == 0;
}

/* What makes readline() return: Ctrl-G until it is back at the line, then, with the line empty, the
 * end of the input. */
static int next_ending_key(reader *self) {
  if (!self->settled && !is_settled() && self->nudges++ < MOST_NUDGES)
    return CTRL('G');
  if (!self->settled) {
    self->settled = true;
    mp_fiber_pause(self->fiber); /* whoever ends the read clears the line */
  }
  return EOF;
}

/* Stands in for readline's own reading of a byte. */
static int next_key(FILE *stream) {
  (void)stream;
  reader *self = reading;
  while (!self->ending) {
    unsigned char byte;
    if (!mp_stdin_is_readable()) {
      mp_fiber_pause(self->fiber);
      continue;
    }
    ssize_t got = read(STDIN_FILENO, &byte, 1);
    if (got == 1)
      return byte;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      mp_fiber_pause(self->fiber);
    else /* the terminal is gone; half a line is not to be run */
      self->ending = true;
  }
  return next_ending_key(self);
}

static void run_readline(void *data) {
  reader *self = data;
  self->line = rl->readline(self->prompt);
}

/* Ending a read. */

static void handle_closed(uv_handle_t *handle) {
  reader *self = handle->data;
  if (--self->open == 0)
    free(self);
}

/* readline() has returned, and has put the terminal back. */
static prompt_wait *stop_reading(void) {
  reader *self = mp_steal(reading);
  fflush(*rl->rl_outstream);
  mp_terminal_guard_off();
  mp_screen_leave_footer();
  mp_fiber_free(self->fiber);
  mp_stdin_watch_close(self->input);
  uv_close((uv_handle_t *)&self->resized, handle_closed);
  uv_close((uv_handle_t *)&self->suspended, handle_closed);
  return self->wait;
}

/* What was typed stays on the screen, and is forgotten. */
static void clear_line(const char *mark) {
  *rl->rl_point = *rl->rl_end;
  rl->rl_redisplay();
  rl->rl_replace_line("", 1);
  fprintf(*rl->rl_outstream, "%s\r\n", mark);
  rl->rl_on_new_line();
}

/* Makes readline() return. */
static prompt_wait *end_reading(const char *mark) {
  reader *self = reading;
  mp_screen_show_footer();
  self->ending = true;
  if (mp_fiber_resume(self->fiber)) {
    clear_line(mark);
    while (mp_fiber_resume(self->fiber))
      ;
  }
  free(mp_steal(self->line));
  return stop_reading();
}

/* Lets readline() work on what was typed. */
static void continue_reading(void *data) {
  reader *self = data;
  mp_screen_show_footer();
  bool goes_on = mp_fiber_resume(self->fiber);
  if (goes_on && !self->ending)
    return;
  prompt_wait *wait = self->wait;
  if (goes_on) {
    end_reading("");
    wait->outcome = END_OF_INPUT;
  } else {
    wait->line = mp_steal(self->line);
    wait->outcome = wait->line ? LINE : END_OF_INPUT;
    if (wait->line == NULL)
      fputs("\r\n", *rl->rl_outstream);
    stop_reading();
  }
  mp_wait_done(&wait->wait);
}

static void on_interrupt(mp_runtime *rt) {
  rt->interrupts = 0;
  if (reading == NULL)
    return;
  bool had_text = *rl->rl_end > 0;
  prompt_wait *wait = end_reading("^C");
  wait->outcome = INTERRUPTED;
  wait->had_text = had_text;
  mp_wait_done(&wait->wait);
}

static void prompt_cancel(mp_wait *wait) {
  end_reading("");
  mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static void prompt_release(mp_wait *wait) {
  free(((prompt_wait *)wait)->line);
}

/* Signals. */

static void on_resize(uv_signal_t *handle, int number) {
  (void)handle;
  (void)number;
  mp_screen_show_footer();
  rl->rl_resize_terminal();
}

/* Ctrl-Z: the shell gets its terminal back, and the prompt is there again afterwards. */
static void on_suspend(uv_signal_t *handle, int number) {
  (void)handle;
  (void)number;
  mp_screen_show_footer();
  hide_prompt();
  rl->rl_deprep_terminal();
  fflush(*rl->rl_outstream);
  raise(SIGSTOP);
  rl->rl_prep_terminal(1);
  rl->rl_reset_screen_size();
  show_prompt();
}

/* Setting up. */

/* What is typed is UTF-8 also where the environment names no locale. */
static void choose_locale(void) {
  setlocale(LC_CTYPE, "");
  if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
    setlocale(LC_CTYPE, "C.UTF-8");
}

/* The first of these calls loads the library. */
static const mp_readline_api *load(lua_State *L) {
  if (rl)
    return rl;
  mp_error err = MP_ERROR_INIT;
  const mp_readline_api *api = mp_readline_load(&err);
  if (api == NULL)
    mp_throw(L, &err);
  choose_locale();
  *api->rl_readline_name = "moonport"; /* for ~/.inputrc */
  *api->rl_catch_signals = 0;
  *api->rl_catch_sigwinch = 0;
  *api->rl_change_environment = 0;
  *api->rl_instream = stdin;
  *api->rl_getc_function = next_key;
  *api->rl_outstream = fdopen(dup(STDOUT_FILENO), "w");
  if (*api->rl_outstream == NULL) {
    mp_error_errno(&err, "readline", errno, "could not open the terminal");
    mp_throw(L, &err);
  }
  api->rl_initialize();
  api->rl_variable_bind("page-completions", "off"); /* it would wait for a key */
  api->using_history();
  rl = api;
  return rl;
}

static int open_reader(lua_State *L, reader *self, mp_error *err) {
  uv_loop_t *loop = &mp_loop_of(L)->uv;
  self->fiber = mp_fiber_new(run_readline, self, err);
  if (self->fiber == NULL)
    return -1;
  self->input = mp_stdin_watch_open(loop, continue_reading, self, err);
  if (self->input == NULL) {
    mp_fiber_free(self->fiber);
    return -1;
  }
  uv_signal_init(loop, &self->resized);
  uv_signal_init(loop, &self->suspended);
  self->resized.data = self->suspended.data = self;
  self->open = 2;
  uv_signal_start(&self->resized, on_resize, SIGWINCH);
  uv_signal_start(&self->suspended, on_suspend, SIGTSTP);
  return 0;
}

static int prompt_finish(lua_State *L, mp_wait *wait) {
  prompt_wait *self = (prompt_wait *)wait;
  if (self->outcome == LINE) {
    lua_pushstring(L, self->line);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, self->outcome == INTERRUPTED ? "interrupted" : "end");
  lua_pushboolean(L, self->had_text);
  return 3;
}

/* read(prompt): waits for a line. Gives it, or nil with "end" or "interrupted", the latter with
 * whether there was text. Colours in the prompt stand between \1 and \2. */
static int l_read(lua_State *L) {
  const char *prompt = luaL_checkstring(L, 1);
  if (reading)
    return mp_raise(L, "readline", "busy", NULL, "another task is reading a line");
  load(L);
  prompt_wait *wait = mp_wait_new(L, sizeof *wait, "readline.read", prompt_finish);
  wait->wait.cancel = prompt_cancel;
  wait->wait.release = prompt_release;
  reader *self = mp_alloc(sizeof *self);
  self->wait = wait;
  self->prompt = prompt;
  if (open_reader(L, self, &wait->wait.error) < 0) {
    free(self);
    return mp_throw(L, &wait->wait.error);
  }
  mp_runtime_of(L)->on_interrupt = on_interrupt;
  mp_screen_open(L);
  mp_screen_fresh_line();
  mp_terminal_guard_on();
  reading = self;
  rl->rl_reset_screen_size();
  mp_screen_set_footer(&prompt_footer, true);
  continue_reading(self);
  return mp_wait_yield(L, &wait->wait);
}

/* completer(fn): see readline_internal.h */
static int l_completer(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  mp_readline_set_completer(L, load(L));
  return 0;
}

/* history(lines, most): replaces what the arrow keys go through; `most` are kept */
static int l_history(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  load(L);
  rl->clear_history();
  rl->stifle_history((int)luaL_checkinteger(L, 2));
  for (lua_Integer i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
    rl->add_history(luaL_checkstring(L, -1));
    lua_pop(L, 1);
  }
  return 0;
}

/* remember(line) */
static int l_remember(lua_State *L) {
  load(L)->add_history(luaL_checkstring(L, 1));
  return 0;
}

int luaopen_moonport_readline(lua_State *L) {
  static const luaL_Reg functions[] = {{"read", l_read},
                                       {"completer", l_completer},
                                       {"history", l_history},
                                       {"remember", l_remember},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
