/* moonport: the program. `run` is here, where its start-up time counts; every other command is Lua
 * (stdlib/moonport/cli.lua). */
#include "core/fd_limit.h"
#include "core/mem.h"
#include "core/scrub.h"
#include "errors.h"
#include "loader.h"
#include "manifest_eval.h"
#include "output.h"
#include "runtime.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static mp_runtime *runtime;

/* Colours are for terminals, and for people who want them (https://no-color.org). */
static bool has_colour(void) {
  const char *refused = getenv("NO_COLOR"), *term = getenv("TERM");
  return isatty(STDERR_FILENO) && !(refused && *refused) && !(term && strcmp(term, "dumb") == 0);
}

#define HINT "  hint:"

/* `moonport: message`, with a hint on a line of its own below. */
static void print_message(const char *text) {
  bool colour = has_colour();
  fputs(colour ? "\x1b[1;31mmoonport:\x1b[0m " : "moonport: ", stderr);
  while (text) {
    const char *end = strchr(text, '\n');
    int len = end ? (int)(end - text) : (int)strlen(text);
    if (colour && strncmp(text, HINT, strlen(HINT)) == 0)
      fprintf(stderr, "\x1b[36m" HINT "\x1b[0m%.*s\n", len - (int)strlen(HINT),
              text + strlen(HINT));
    else
      fprintf(stderr, "%.*s\n", len, text);
    text = end ? end + 1 : NULL;
  }
}

static const char run_help[] =
    "Usage: moonport run [--trace] FILE [ARGS...]\n"
    "       moonport run [--trace] -e CODE [ARGS...]\n"
    "       moonport run [--trace] - [ARGS...]      reads the script from standard input\n"
    "\n"
    "Runs a Lua script with moonport's modules: local mp = require \"moonport\".\n"
    "The script finds its arguments in `arg` and `...`.\n"
    "\n"
    "Options:\n"
    "  -e CODE    runs CODE\n"
    "  --trace    on an uncaught error, prints the Lua traceback too\n"
    "  -h, --help\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused, 130 interrupted.\n"
    "\n"
    "Example: moonport run -e 'print(require(\"moonport\").sys.hostname())'\n";

static void run_usage(const char *message) {
  char *text =
      mp_sprintf("%s\n" HINT " usage: moonport run [--trace] FILE [ARGS...]; `moonport run --help` "
                 "tells more",
                 message);
  print_message(text);
  free(text);
}

typedef struct {
  const char *code; /* -e */
  const char *file; /* NULL: standard input */
  int first_arg;    /* index in argv of the script's first argument */
  bool trace;
} run_options;

/* Returns -1 to go on, else an exit status. */
static int parse_run(int argc, char **argv, int i, run_options *options) {
  bool chosen = false;
  while (i < argc && !chosen) {
    const char *word = argv[i++];
    if (strcmp(word, "--trace") == 0) {
      options->trace = true;
    } else if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
      fputs(run_help, stdout);
      return 0;
    } else if (strcmp(word, "-e") == 0) {
      if (i == argc) {
        run_usage("`-e` wants the code to run");
        return 2;
      }
      options->code = argv[i++];
      chosen = true;
    } else if (strcmp(word, "-") == 0) {
      chosen = true;
    } else if (strcmp(word, "--") == 0) {
      options->file = i < argc ? argv[i++] : NULL;
      chosen = options->file != NULL;
      break;
    } else if (word[0] == '-') {
      char *message = mp_sprintf("unknown option `%s`", word);
      run_usage(message);
      free(message);
      return 2;
    } else {
      options->file = word;
      chosen = true;
    }
  }
  if (!chosen) {
    run_usage("`moonport run` wants a FILE, `-`, or `-e` with code");
    return 2;
  }
  options->first_arg = i;
  return -1;
}

/* arg[0] is the script, arg[1] its first argument, arg[-1] and below what came before it. */
static void set_arg(lua_State *L, int argc, char **argv, int script) {
  lua_createtable(L, argc - script, script + 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

static void print_error(lua_State *L, int index, bool trace) {
  mp_push_text(L, index);
  char *clean = mp_scrub_text(lua_tostring(L, -1));
  print_message(clean);
  free(clean);
  if (trace && lua_isstring(L, index + 1)) {
    clean = mp_scrub_text(lua_tostring(L, index + 1));
    fprintf(stderr, "%s\n", clean);
    free(clean);
  }
  lua_pop(L, 1);
}

/* True for what there is nothing to say about: an error that asks for it (`quiet`), such as a
 * reader of our output that has gone, and Ctrl-C where it is how one leaves (`quiet_interrupt` of
 * moonport.cli). */
static bool is_quiet(lua_State *L, int error, int status) {
  int top = lua_gettop(L);
  bool quiet =
      mp_is_error(L, error) && lua_getfield(L, error, "quiet") != LUA_TNIL && lua_toboolean(L, -1);
  if (!quiet && status > 128 && luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE) &&
      lua_getfield(L, -1, "moonport.cli") == LUA_TTABLE)
    quiet = lua_getfield(L, -1, "quiet_interrupt") != LUA_TNIL && lua_toboolean(L, -1);
  lua_settop(L, top);
  return quiet;
}

/* One keystroke can arrive twice: from the terminal, and from a parent that passes it on. */
static bool is_echo(void) {
  static struct timespec last;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  double apart = (double)(now.tv_sec - last.tv_sec) + (double)(now.tv_nsec - last.tv_nsec) / 1e9;
  last = now;
  return runtime->interrupts > 0 && apart < 0.2;
}

static void on_signal(int number) {
  runtime->signal = number;
  if (is_echo())
    return;
  if (runtime->interrupts > 0 && !runtime->keep_on_interrupt) {
    static const char text[] = "moonport: interrupted again; what was begun is left as it is, and "
                               "the next command goes on from there\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    _exit(128 + number);
  }
  mp_runtime_interrupt(runtime);
}

/* Whoever started us with a signal ignored, as nohup does, meant it. */
static void catch_signal(int number, const struct sigaction *action) {
  struct sigaction before;
  if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
    sigaction(number, action, NULL);
}

/* From when there is something to cancel; before, and after, a signal just ends the program. */
static void catch_signals(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigfillset(&action.sa_mask);
  catch_signal(SIGINT, &action);
  catch_signal(SIGTERM, &action);
  catch_signal(SIGHUP, &action);
}

static void release_signals(void) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction now;
    if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == on_signal)
      signal(numbers[i], SIG_DFL);
  }
}

/* The function and its arguments are on the stack. */
static int call_and_report(mp_runtime *rt, int nargs, bool trace) {
  lua_State *L = rt->L;
  catch_signals();
  if (mp_runtime_call(rt, nargs) == LUA_OK)
    return rt->exit_requested ? rt->exit_code : -1;
  int error = lua_absindex(L, -2);
  int status = mp_exit_status(L, error);
  if (!rt->exit_requested && !is_quiet(L, error, status))
    print_error(L, error, trace);
  return status;
}

static int run(mp_runtime *rt, int argc, char **argv, int first) {
  run_options options = {0};
  int status = parse_run(argc, argv, first, &options);
  if (status >= 0)
    return status;
  lua_State *L = rt->L;
  rt->is_script = true;
  set_arg(L, argc, argv, options.first_arg - 1);
  if (options.code)
    status = luaL_loadbufferx(L, options.code, strlen(options.code), "=(command line)", "t");
  else
    status = luaL_loadfilex(L, options.file, "t");
  if (status != LUA_OK) {
    print_message(lua_tostring(L, -1));
    return status == LUA_ERRFILE ? 3 : 1;
  }
  int nargs = argc - options.first_arg;
  luaL_checkstack(L, nargs, "too many arguments");
  for (int i = options.first_arg; i < argc; i++)
    lua_pushstring(L, argv[i]);
  status = call_and_report(rt, nargs, options.trace);
  return status < 0 ? 0 : status;
}

/* Gives the function behind every command but `run`: require("moonport.cli").main */
static int l_command(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "moonport.cli");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "main");
  return 1;
}

/* --trace may stand anywhere among a command's own words. */
static bool wants_trace(int argc, char **argv) {
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
    if (strcmp(argv[i], "--trace") == 0)
      return true;
  }
  return false;
}

static int command(mp_runtime *rt, int argc, char **argv) {
  bool trace = wants_trace(argc, argv);
  lua_State *L = rt->L;
  set_arg(L, argc, argv, 0);
  lua_pushcfunction(L, l_command);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
    lua_pushnil(L);
    print_error(L, lua_gettop(L) - 1, trace);
    return 1;
  }
  lua_getglobal(L, "arg");
  int status = call_and_report(rt, 1, trace);
  return status >= 0 ? status : (int)luaL_optinteger(L, -1, 0);
}

/* What was printed and got lost is a failure, except where the reader wanted no more of it. */
static int finish_output(int status) {
  int lost = mp_output_finish();
  if (lost == 0 || lost == EPIPE || status != 0)
    return status;
  fprintf(stderr, "moonport: could not write to standard output: %s\n", strerror(lost));
  return 1;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], MP_MANIFEST_EVAL_COMMAND) == 0)
    return mp_manifest_eval_main();
  mp_output_open_standard();
  mp_fd_limit_raise();
  signal(SIGPIPE, SIG_IGN);
  mp_error err = MP_ERROR_INIT;
  runtime = mp_runtime_new(&err);
  if (runtime == NULL) {
    fprintf(stderr, "moonport: %s\n", err.message);
    mp_error_reset(&err);
    return 1;
  }
  int status;
  if (argc > 1 && strcmp(argv[1], "run") == 0)
    status = run(runtime, argc, argv, 2);
  else
    status = command(runtime, argc, argv);
  mp_runtime_finish(runtime);
  release_signals();
  mp_runtime_free(runtime);
  return finish_output(status);
}
