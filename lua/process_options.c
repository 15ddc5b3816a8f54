#include "process_options.h"

#include "bind_cgroup.h"
#include "core/mem.h"
#include "core/sysinfo.h"
#include "errors.h"
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL_METATABLE "moonport.process.call"

extern char **environ;

/* What is being read: the options go to `to`, messages name `call`. */
typedef struct {
  lua_State *L;
  mp_process_call *to;
  const char *call;
  bool is_run;
  bool foreground;
} reader;

static int call_gc(lua_State *L) {
  mp_process_call *self = luaL_checkudata(L, 1, CALL_METATABLE);
  for (size_t i = 0; i < self->run.spawn.cgroup_count; i++)
    close(self->cgroup_fds[i]);
  if (self->netns_fd > 0)
    close(self->netns_fd);
  for (size_t i = 0; i < self->block_count; i++)
    free(self->blocks[i]);
  free(self->blocks);
  mp_user_reset(&self->user);
  *self = (mp_process_call){0};
  return 0;
}

static mp_process_call *push_call(lua_State *L) {
  mp_process_call *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (mp_process_call){0};
  if (luaL_newmetatable(L, CALL_METATABLE)) {
    lua_pushcfunction(L, call_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return self;
}

static void *keep(reader *in, void *block) {
  mp_process_call *to = in->to;
  if ((to->block_count & (to->block_count - 1)) == 0) /* grow at each power of two */
    to->blocks =
        mp_realloc(to->blocks, (to->block_count ? 2 * to->block_count : 1) * sizeof *to->blocks);
  to->blocks[to->block_count++] = block;
  return block;
}

/* A copy of the string on top, which may hold no NUL: the kernel would end it there. */
static char *keep_text(reader *in, const char *text, size_t len, const char *what) {
  if (memchr(text, '\0', len))
    mp_bad_argument(in->L, "%s: %s has a NUL byte in it", in->call, what);
  return keep(in, mp_memdup(text, len));
}

/* The option as a copy, NULL when it is not given. */
static char *text_option(reader *in, const char *name) {
  size_t len;
  char *text = NULL;
  int type = lua_getfield(in->L, 1, name);
  if (type == LUA_TSTRING) {
    const char *given = lua_tolstring(in->L, -1, &len);
    text = keep_text(in, given, len, name);
  } else if (type != LUA_TNIL) {
    mp_bad_argument(in->L, "%s: `%s` wants a string, got a %s", in->call, name,
                    luaL_typename(in->L, -1));
  }
  lua_pop(in->L, 1);
  return text;
}

static bool flag_option(reader *in, const char *name) {
  int type = lua_getfield(in->L, 1, name);
  if (type != LUA_TNIL && type != LUA_TBOOLEAN)
    mp_bad_argument(in->L, "%s: `%s` wants true or false, got a %s", in->call, name,
                    luaL_typename(in->L, -1));
  bool set = lua_toboolean(in->L, -1);
  lua_pop(in->L, 1);
  return set;
}

/* Seconds as milliseconds; a short time is never none. */
static uint64_t time_option(reader *in, const char *name) {
  int type = lua_getfield(in->L, 1, name);
  lua_Number seconds = lua_tonumber(in->L, -1);
  if (type != LUA_TNIL && (type != LUA_TNUMBER || !(seconds >= 0 && seconds < 1e10)))
    mp_bad_argument(in->L, "%s: `%s` wants seconds", in->call, name);
  lua_pop(in->L, 1);
  return seconds > 0 && seconds < 0.001 ? 1 : (uint64_t)(seconds * 1000);
}

/* -- The program ------------------------------------------------------------------------------ */

static void read_argv(reader *in) {
  lua_State *L = in->L;
  size_t count = lua_rawlen(L, 1);
  if (count == 0)
    mp_bad_argument(L, "%s wants the program and its arguments: {\"ls\", \"-l\"}", in->call);
  const char **argv = keep(in, mp_calloc(count + 1, sizeof *argv));
  for (size_t i = 0; i < count; i++) {
    size_t len;
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    if (mp_is_secret(L, -1))
      mp_raise(
          L, "secret", "refused",
          "everyone on the machine can read arguments: pass it in `env` or `input`, or by file",
          "argument %d of `%s` is a secret", (int)i, argv[0] ? argv[0] : in->call);
    const char *text = lua_isstring(L, -1) ? lua_tolstring(L, -1, &len) : NULL;
    if (text == NULL)
      mp_bad_argument(L, "%s: argument %d is a %s, not a string", in->call, (int)i,
                      luaL_typename(L, -1));
    argv[i] = keep_text(in, text, len, "an argument");
    lua_pop(L, 1);
  }
  in->to->run.spawn.argv = argv;
}

/* -- The environment -------------------------------------------------------------------------- */

static void check_variable_name(reader *in, const char *name, size_t len) {
  if (len == 0 || memchr(name, '=', len) || memchr(name, '\0', len))
    mp_bad_argument(in->L, "%s: `%s` cannot be the name of an environment variable", in->call,
                    name);
}

/* stack: table, name, value. NULL: to be left out. */
static const char *variable(reader *in) {
  lua_State *L = in->L;
  size_t name_len, len;
  const char *name = lua_tolstring(L, -2, &name_len);
  check_variable_name(in, name, name_len);
  if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
    return NULL;
  const char *value = mp_secret_tolstring(L, -1, &len);
  if (value == NULL)
    mp_bad_argument(L, "%s: the environment variable `%s` is a %s", in->call, name,
                    luaL_typename(L, -1));
  if (memchr(value, '\0', len))
    mp_bad_argument(L, "%s: the environment variable `%s` has a NUL byte in it", in->call, name);
  char *entry = mp_alloc(name_len + len + 2);
  memcpy(entry, name, name_len);
  entry[name_len] = '=';
  memcpy(entry + name_len + 1, value, len);
  return keep(in, entry);
}

static size_t count_environ(void) {
  size_t count = 0;
  while (environ && environ[count])
    count++;
  return count;
}

/* Ours, without what the table at `index` (0: none) sets or takes away. */
static size_t inherit(reader *in, int index, const char **env) {
  size_t count = 0;
  for (char **entry = environ; entry && *entry; entry++) {
    const char *equals = strchr(*entry, '=');
    if (equals == NULL)
      continue;
    lua_pushlstring(in->L, *entry, (size_t)(equals - *entry));
    if (lua_rawget(in->L, index) == LUA_TNIL)
      env[count++] = keep(in, mp_strdup(*entry));
    lua_pop(in->L, 1);
  }
  return count;
}

static void read_env(reader *in) {
  lua_State *L = in->L;
  bool clean = flag_option(in, "clean_env");
  int type = lua_getfield(L, 1, "env");
  if (type == LUA_TNIL && !clean) {
    lua_pop(L, 1);
    return; /* ours as it is */
  }
  if (type == LUA_TNIL)
    lua_newtable(L);
  else if (type != LUA_TTABLE)
    mp_bad_argument(L, "%s: `env` wants a table of names and values", in->call);
  if (type == LUA_TNIL)
    lua_remove(L, -2);
  int index = lua_gettop(L);
  size_t count = 0, set = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      mp_bad_argument(L, "%s: `env` wants names, got a %s", in->call, luaL_typename(L, -2));
    set++;
  }
  const char **env = keep(in, mp_calloc(count_environ() + set + 1, sizeof *env));
  if (!clean)
    count = inherit(in, index, env);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    env[count] = variable(in);
    count += env[count] != NULL;
  }
  in->to->run.spawn.env = env;
  lua_pop(L, 1);
}

/* -- Standard descriptors --------------------------------------------------------------------- */

static mp_stdio read_file_stdio(reader *in, const char *name) {
  lua_State *L = in->L;
  size_t len;
  mp_stdio stdio = {.kind = MP_STDIO_FILE};
  int table = lua_gettop(L);
  if (lua_getfield(L, table, "file") != LUA_TSTRING)
    mp_bad_argument(L, "%s: `%s` wants {file = PATH}", in->call, name);
  const char *path = lua_tolstring(L, -1, &len);
  stdio.path = keep_text(in, path, len, "a path");
  lua_getfield(L, table, "append");
  stdio.append = lua_toboolean(L, -1);
  lua_getfield(L, table, "mode");
  stdio.mode = (mode_t)luaL_optinteger(L, -1, 0);
  lua_settop(L, table);
  return stdio;
}

static mp_stdio named_stdio(reader *in, const char *name, const char *word) {
  const char *pipe = in->is_run && strcmp(name, "stdin") != 0 ? "capture" : "pipe";
  if (strcmp(word, "null") == 0)
    return (mp_stdio){.kind = MP_STDIO_NULL};
  if (strcmp(word, "inherit") == 0)
    return (mp_stdio){.kind = MP_STDIO_INHERIT};
  if (strcmp(word, pipe) == 0 && (!in->is_run || strcmp(name, "stdin") != 0))
    return (mp_stdio){.kind = MP_STDIO_PIPE};
  if (strcmp(word, "stdout") == 0 && strcmp(name, "stderr") == 0)
    return (mp_stdio){.kind = MP_STDIO_STDOUT};
  mp_bad_argument(in->L,
                  "%s: `%s` cannot be \"%s\"; it is \"%s\", \"inherit\", \"null\" or "
                  "{file = PATH}",
                  in->call, name, word, strcmp(name, "stdin") == 0 && in->is_run ? "null" : pipe);
  return (mp_stdio){0};
}

static mp_stdio stdio_option(reader *in, const char *name, mp_stdio_kind by_default) {
  lua_State *L = in->L;
  mp_stdio stdio = {.kind = by_default};
  if (in->foreground)
    stdio.kind = MP_STDIO_INHERIT;
  else if (in->to->run.spawn.detached)
    stdio.kind = MP_STDIO_NULL;
  int type = lua_getfield(L, 1, name);
  if (type == LUA_TSTRING)
    stdio = named_stdio(in, name, lua_tostring(L, -1));
  else if (type == LUA_TTABLE)
    stdio = read_file_stdio(in, name);
  else if (type != LUA_TNIL)
    mp_bad_argument(L, "%s: `%s` wants a word or {file = PATH}, got a %s", in->call, name,
                    luaL_typename(L, -1));
  lua_pop(L, 1);
  return stdio;
}

static void read_input(reader *in) {
  lua_State *L = in->L;
  size_t len;
  if (lua_getfield(L, 1, "input") != LUA_TNIL) {
    const char *bytes = mp_secret_tolstring(L, -1, &len);
    if (bytes == NULL)
      mp_bad_argument(L, "%s: `input` wants a string or a secret, got a %s", in->call,
                      luaL_typename(L, -1));
    in->to->run.spawn.in.kind = MP_STDIO_PIPE;
    in->to->run.input = keep(in, mp_memdup(bytes, len));
    in->to->run.input_len = len;
  }
  lua_pop(L, 1);
}

static void read_stdio(reader *in) {
  mp_process_options *spawn = &in->to->run.spawn;
  spawn->in = stdio_option(in, "stdin", in->is_run ? MP_STDIO_NULL : MP_STDIO_PIPE);
  spawn->out = stdio_option(in, "stdout", MP_STDIO_PIPE);
  spawn->err = stdio_option(in, "stderr", in->is_run ? MP_STDIO_PIPE : MP_STDIO_INHERIT);
  if (in->is_run)
    read_input(in);
}

static unsigned short terminal_size(reader *in, const char *name) {
  lua_getfield(in->L, -1, name);
  lua_Integer size = luaL_optinteger(in->L, -1, 0);
  if (size < 0 || size > 65535)
    mp_bad_argument(in->L, "%s: %lld is no size for a terminal", in->call, (long long)size);
  lua_pop(in->L, 1);
  return (unsigned short)size;
}

static void read_pty(reader *in) {
  mp_process_options *spawn = &in->to->run.spawn;
  int type = lua_getfield(in->L, 1, "pty");
  spawn->pty = lua_toboolean(in->L, -1);
  if (type == LUA_TTABLE) {
    spawn->rows = terminal_size(in, "rows");
    spawn->columns = terminal_size(in, "columns");
  }
  lua_pop(in->L, 1);
  if (spawn->pty && in->foreground)
    mp_bad_argument(in->L, "%s: a child has the terminal of its own (`pty`) or ours (`foreground`)",
                    in->call);
}

/* -- Where and as whom ------------------------------------------------------------------------ */

static void read_user(reader *in) {
  in->to->user_name = text_option(in, "user");
  in->to->group_name = text_option(in, "group");
  in->to->wants_user = in->to->user_name || in->to->group_name;
}

static void read_cgroup(reader *in) {
  mp_error err = MP_ERROR_INIT;
  mp_process_options *spawn = &in->to->run.spawn;
  if (lua_getfield(in->L, 1, "cgroup") != LUA_TNIL) {
    const mp_cgroup *group = mp_lua_check_cgroup(in->L, -1);
    if (mp_cgroup_open_procs(group, in->to->cgroup_fds, &spawn->cgroup_count, &err) < 0)
      mp_throw(in->L, &err);
    spawn->cgroups = in->to->cgroup_fds;
  }
  lua_pop(in->L, 1);
}

static void read_netns(reader *in) {
  mp_error err = MP_ERROR_INIT;
  const char *path = text_option(in, "netns");
  if (path == NULL)
    return;
  char named[300]; /* where `ip netns` keeps them */
  snprintf(named, sizeof named, "/run/netns/%s", path);
  in->to->netns_fd = open(strchr(path, '/') ? path : named, O_RDONLY | O_CLOEXEC);
  if (in->to->netns_fd < 0) {
    mp_error_errno(&err, "process", errno, "could not open the network namespace `%s`", path);
    mp_throw(in->L, &err);
  }
  in->to->run.spawn.netns = in->to->netns_fd;
}

static int rlimit_number(const char *name) {
  static const struct {
    const char *name;
    int number;
  } known[] = {{"as", RLIMIT_AS},         {"core", RLIMIT_CORE},   {"cpu", RLIMIT_CPU},
               {"data", RLIMIT_DATA},     {"fsize", RLIMIT_FSIZE}, {"memlock", RLIMIT_MEMLOCK},
               {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"stack", RLIMIT_STACK}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strcmp(name, known[i].name) == 0)
      return known[i].number;
  }
  return -1;
}

static void read_rlimits(reader *in) {
  lua_State *L = in->L;
  mp_process_options *spawn = &in->to->run.spawn;
  int type = lua_getfield(L, 1, "rlimits");
  if (type != LUA_TNIL && type != LUA_TTABLE)
    mp_bad_argument(L, "%s: `rlimits` wants a table such as {nofile = 1024}", in->call);
  if (type == LUA_TTABLE) {
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      int number = lua_type(L, -2) == LUA_TSTRING ? rlimit_number(lua_tostring(L, -2)) : -1;
      if (number < 0)
        mp_bad_argument(L,
                        "%s: there is no resource limit of that name; there are as, core, cpu, "
                        "data, fsize, memlock, nofile, nproc, stack",
                        in->call);
      if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 0)
        mp_bad_argument(L, "%s: a resource limit is a whole number", in->call);
      rlim_t value = (rlim_t)lua_tointeger(L, -1);
      in->to->rlimits[spawn->rlimit_count++] = (mp_spawn_rlimit){number, {value, value}};
    }
    spawn->rlimits = in->to->rlimits;
  }
  lua_pop(L, 1);
}

/* -- All of it -------------------------------------------------------------------------------- */

static const char *const common[] = {"env",     "clean_env",  "cwd",   "user",  "group",  "stdin",
                                     "stdout",  "stderr",     "pty",   "drain", "cgroup", "netns",
                                     "rlimits", "foreground", "grace", NULL};
static const char *const run_only[] = {"input", "timeout", "limit", "truncate",
                                       "check", "purpose", NULL};
static const char *const spawn_only[] = {"detached", NULL};

static bool is_in(const char *const *list, const char *name) {
  while (*list && strcmp(*list, name) != 0)
    list++;
  return *list != NULL;
}

static void check_names(reader *in) {
  lua_State *L = in->L;
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      continue;
    const char *name = lua_tostring(L, -2);
    if (!is_in(common, name) && !is_in(in->is_run ? run_only : spawn_only, name))
      mp_bad_argument(L, "%s has no option `%s`", in->call, name);
  }
}

static void read_run_options(reader *in) {
  mp_process_run_options *run = &in->to->run;
  run->timeout = time_option(in, "timeout");
  run->truncate = flag_option(in, "truncate");
  lua_getfield(in->L, 1, "limit");
  lua_Integer limit = luaL_optinteger(in->L, -1, 0);
  if (limit < 0)
    mp_bad_argument(in->L, "%s: `limit` wants a number of bytes", in->call);
  run->limit = (size_t)limit;
  lua_pop(in->L, 1);
}

mp_process_call *mp_process_call_read(lua_State *L, const char *call, bool is_run) {
  luaL_checktype(L, 1, LUA_TTABLE);
  reader in = {.L = L, .call = call, .is_run = is_run};
  in.to = push_call(L);
  mp_process_options *spawn = &in.to->run.spawn;
  check_names(&in);
  in.foreground = flag_option(&in, "foreground");
  spawn->detached = !is_run && flag_option(&in, "detached");
  spawn->scope = in.foreground ? MP_SPAWN_SHARED : MP_SPAWN_SESSION;
  read_argv(&in);
  read_env(&in);
  read_stdio(&in);
  read_pty(&in);
  read_user(&in);
  read_cgroup(&in);
  read_netns(&in);
  read_rlimits(&in);
  spawn->cwd = text_option(&in, "cwd");
  spawn->drain = time_option(&in, "drain");
  in.to->run.grace = time_option(&in, "grace");
  if (is_run)
    read_run_options(&in);
  return in.to;
}
