#include "bind_process.h"

#include "bind_stream.h"
#include "bind_sys.h"
#include "core/mem.h"
#include "core/sysinfo.h"
#include "errors.h"
#include "gate.h"
#include "process_options.h"
#include "task.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define PROCESS_METATABLE "moonport.process"
#define DEFAULT_GRACE 5000
#define KEEP ((size_t)1024 * 1024) /* of an output that nobody reads, while waiting for the end */

/* -- Results ---------------------------------------------------------------------------------- */

static void push_signal(lua_State *L, int number) {
  const char *name = mp_sys_signal_name(number);
  if (name)
    lua_pushstring(L, name);
  else
    lua_pushfstring(L, "SIG%d", number); /* a real-time one */
}

/* {code | signal, core_dumped, duration, cpu} */
static void push_exit(lua_State *L, const mp_process_exit *exit) {
  lua_createtable(L, 0, 6);
  if (exit->signal == 0) {
    lua_pushinteger(L, exit->code);
    lua_setfield(L, -2, "code");
  } else {
    push_signal(L, exit->signal);
    lua_setfield(L, -2, "signal");
  }
  if (exit->core_dumped) {
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "core_dumped");
  }
  lua_pushnumber(L, (lua_Number)exit->wall_ms / 1000);
  lua_setfield(L, -2, "duration");
  lua_pushnumber(L, (lua_Number)exit->cpu_ms / 1000);
  lua_setfield(L, -2, "cpu");
}

/* Looking up the user comes first, where there is one to look up. */

static int take_user(mp_process_call *call, mp_user *found, const mp_error *err, mp_wait *wait) {
  if (err) {
    mp_wait_fail(wait, err);
    mp_wait_done(wait);
    return -1;
  }
  call->user = *found;
  *found = MP_USER_INIT;
  call->run.spawn.user = &call->user;
  return 0;
}

/* -- run -------------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait;
  mp_loop *loop;
  mp_process_call *call; /* on the stack beneath */
  mp_process_result result;
  mp_error failure; /* comes with a result: timeout, limit */
} run_wait;

static void run_release(mp_wait *wait) {
  run_wait *self = (run_wait *)wait;
  mp_buf_free(&self->result.out);
  mp_buf_free(&self->result.err);
  mp_error_reset(&self->failure);
}

static void run_done(void *data, mp_process_result *result, const mp_error *err) {
  run_wait *self = data;
  self->result = *result;
  result->out = result->err = MP_BUF_INIT;
  if (err && mp_error_is(err, MP_CANCELLED))
    mp_wait_fail(&self->wait, err);
  else if (err)
    mp_error_copy(&self->failure, err);
  mp_wait_done(&self->wait);
}

static int start_run(run_wait *self) {
  return mp_process_run(self->loop, &self->call->run, run_done, self, &self->wait.op,
                        &self->wait.error);
}

static void run_user_found(void *data, mp_user *found, mp_error *err) {
  run_wait *self = data;
  if (take_user(self->call, found, err, &self->wait) == 0 && start_run(self) < 0)
    mp_wait_done(&self->wait);
}

static void set_output(lua_State *L, const char *name, const mp_buf *bytes) {
  lua_pushlstring(L, bytes->len ? bytes->data : "", bytes->len);
  lua_setfield(L, -2, name);
}

static int run_finish(lua_State *L, mp_wait *wait) {
  run_wait *self = (run_wait *)wait;
  bool failed = self->failure.domain != NULL;
  if (failed)
    mp_push_error(L, &self->failure);
  else
    push_exit(L, &self->result.exit);
  if (self->call->run.spawn.out.kind == MP_STDIO_PIPE)
    set_output(L, "stdout", &self->result.out);
  if (self->call->run.spawn.err.kind == MP_STDIO_PIPE && !self->call->run.spawn.pty)
    set_output(L, "stderr", &self->result.err);
  if (self->result.truncated) {
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "truncated");
  }
  return failed ? lua_error(L) : 1;
}

/* A credential plugin is a read that looks like a write. */
static bool is_exempt(lua_State *L) {
  if (lua_getfield(L, 1, "purpose") == LUA_TNIL) {
    lua_pop(L, 1);
    return false;
  }
  const char *purpose = lua_tostring(L, -1);
  if (purpose == NULL || strcmp(purpose, "credential") != 0)
    mp_bad_argument(L, "process.run: `purpose` can only be \"credential\"");
  lua_pop(L, 1);
  return true;
}

/* So is a program that does nothing but print a firewall's rules, where the system keeps it. */
static bool only_lists(const char *const *argv) {
  static const char *const programs[] = {"/usr/sbin/iptables-legacy-save",
                                         "/sbin/iptables-legacy-save",
                                         "/usr/sbin/iptables-nft-save", "/sbin/iptables-nft-save"};
  for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
    if (strcmp(argv[0], programs[i]) == 0)
      return argv[1] == NULL;
  }
  return false;
}

/* run(options) */
static int l_run(lua_State *L) {
  lua_settop(L, 1);
  mp_process_call *call = mp_process_call_read(L, "process.run", true);
  if (!is_exempt(L) && !only_lists(call->run.spawn.argv))
    mp_gate(L, "process.run", "run `%s`", call->run.spawn.argv[0]);
  run_wait *self = mp_wait_new(L, sizeof *self, "process.run", run_finish);
  self->wait.release = run_release;
  self->loop = mp_loop_of(L);
  self->call = call;
  if (call->wants_user)
    self->wait.op =
        mp_user_lookup_start(self->loop, call->user_name, call->group_name, run_user_found, self);
  else if (start_run(self) < 0)
    return mp_throw(L, &self->wait.error);
  return mp_wait_yield(L, &self->wait);
}

/* -- The handle ------------------------------------------------------------------------------- */

enum { UV_STDIN = 1, UV_STDOUT, UV_STDERR, UV_LAST = UV_STDERR };

typedef struct {
  mp_process *process; /* NULL once it is closed */
  pid_t pid;
  uint64_t grace;
  bool detached;
} handle;

static handle *check_handle(lua_State *L) {
  return luaL_checkudata(L, 1, PROCESS_METATABLE);
}

static handle *check_open(lua_State *L) {
  handle *self = check_handle(L);
  if (self->process == NULL)
    mp_raise(L, "process", "closed", NULL, "the handle of process %d is closed", (int)self->pid);
  return self;
}

/* Makes the object of one of the streams, before there is a process to lose. */
static mp_lua_stream *reserve_stream(lua_State *L, int slot, const char *what) {
  mp_lua_stream *stream = mp_lua_stream_new(L, false, what);
  lua_pushvalue(L, -2);
  lua_setiuservalue(L, -2, 1);
  lua_setiuservalue(L, -2, slot);
  return stream;
}

/* stack: options, call, ... Pushes the handle. */
static int spawn_now(lua_State *L, const mp_process_call *call) {
  mp_error err = MP_ERROR_INIT;
  handle *self = lua_newuserdatauv(L, sizeof *self, UV_LAST);
  *self = (handle){.grace = call->run.grace ? call->run.grace : DEFAULT_GRACE,
                   .detached = call->run.spawn.detached};
  luaL_setmetatable(L, PROCESS_METATABLE);
  mp_lua_stream *in = reserve_stream(L, UV_STDIN, "process.stdin");
  mp_lua_stream *out = reserve_stream(L, UV_STDOUT, "process.stdout");
  mp_lua_stream *error = reserve_stream(L, UV_STDERR, "process.stderr");
  if (mp_process_spawn(mp_loop_of(L), &call->run.spawn, &self->process, &err) < 0)
    return mp_throw(L, &err);
  self->pid = mp_process_pid(self->process);
  in->stream = mp_process_in(self->process);
  out->stream = mp_process_out(self->process);
  error->stream = mp_process_err(self->process);
  return 1;
}

typedef struct {
  mp_wait wait;
  mp_process_call *call;
} user_wait;

static void spawn_user_found(void *data, mp_user *found, mp_error *err) {
  user_wait *self = data;
  if (take_user(self->call, found, err, &self->wait) == 0)
    mp_wait_done(&self->wait);
}

static int spawn_finish(lua_State *L, mp_wait *wait) {
  return spawn_now(L, ((user_wait *)wait)->call);
}

/* spawn(options) */
static int l_spawn(lua_State *L) {
  lua_settop(L, 1);
  mp_process_call *call = mp_process_call_read(L, "process.spawn", false);
  mp_gate(L, "process.spawn", "start `%s`", call->run.spawn.argv[0]);
  if (!call->wants_user)
    return spawn_now(L, call);
  user_wait *self = mp_wait_new(L, sizeof *self, "process.spawn", spawn_finish);
  self->call = call;
  self->wait.op = mp_user_lookup_start(mp_loop_of(L), call->user_name, call->group_name,
                                       spawn_user_found, self);
  return mp_wait_yield(L, &self->wait);
}

/* Puts a stream of the handle at index 1 in its place. */
static void go_to_stream(lua_State *L, int slot, const char *name) {
  check_open(L);
  lua_getiuservalue(L, 1, slot);
  if (((mp_lua_stream *)lua_touserdata(L, -1))->stream == NULL)
    mp_raise(L, "process", "no_pipe", "start it with `pipe` for this stream",
             "%s of process %d is no pipe, or is closed", name, (int)check_handle(L)->pid);
  lua_replace(L, 1);
}

static int process_read(lua_State *L) {
  go_to_stream(L, UV_STDOUT, "stdout");
  return mp_lua_stream_read(L);
}

static int process_read_line(lua_State *L) {
  go_to_stream(L, UV_STDOUT, "stdout");
  return mp_lua_stream_read_line(L);
}

static int process_read_all(lua_State *L) {
  go_to_stream(L, UV_STDOUT, "stdout");
  return mp_lua_stream_read_all(L);
}

static int process_lines(lua_State *L) {
  go_to_stream(L, UV_STDOUT, "stdout");
  return mp_lua_stream_lines(L);
}

static int process_write(lua_State *L) {
  go_to_stream(L, UV_STDIN, "stdin");
  return mp_lua_stream_write(L);
}

static int process_close_stdin(lua_State *L) {
  go_to_stream(L, UV_STDIN, "stdin");
  return mp_lua_stream_shutdown(L);
}

/* -- Its end ---------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait;
  mp_process_exit exit;
} end_wait;

static void ended(void *data, const mp_process_exit *exit, const mp_error *err) {
  end_wait *self = data;
  if (exit)
    self->exit = *exit;
  mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

static int end_finish(lua_State *L, mp_wait *wait) {
  push_exit(L, &((end_wait *)wait)->exit);
  return 1;
}

static int wait_for_end(lua_State *L, const handle *self, const char *what, mp_wait_finish finish) {
  end_wait *wait = mp_wait_new(L, sizeof *wait, what, finish);
  if (mp_process_wait(self->process, KEEP, ended, wait, &wait->wait.op, &wait->wait.error) < 0)
    return mp_throw(L, &wait->wait.error);
  return mp_wait_yield(L, &wait->wait);
}

static int process_wait(lua_State *L) {
  return wait_for_end(L, check_open(L), "process:wait", end_finish);
}

static uint64_t check_grace(lua_State *L, int index, uint64_t by_default) {
  if (lua_isnoneornil(L, index))
    return by_default;
  lua_Number seconds = luaL_checknumber(L, index);
  if (!(seconds >= 0 && seconds < 1e10))
    mp_bad_argument(L, "a grace is a number of seconds");
  return (uint64_t)(seconds * 1000);
}

static int process_stop(lua_State *L) {
  const handle *self = check_open(L);
  uint64_t grace = check_grace(L, 2, self->grace);
  lua_settop(L, 1);
  mp_gate(L, "process:stop", "stop process %d", (int)self->pid);
  mp_process_stop(self->process, grace);
  return wait_for_end(L, self, "process:stop", end_finish);
}

static int process_kill(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  const handle *self = check_open(L);
  int number = mp_lua_check_signal(L, 2, SIGTERM);
  mp_gate(L, "process:kill", "signal process %d", (int)self->pid);
  if (mp_process_signal(self->process, number, &err) == 0) {
    lua_pushboolean(L, true);
    return 1;
  }
  if (!mp_error_is(&err, "ESRCH"))
    return mp_throw(L, &err);
  mp_error_reset(&err);
  lua_pushboolean(L, false);
  return 1;
}

static int process_resize(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  const handle *self = check_open(L);
  lua_Integer rows = luaL_checkinteger(L, 2), columns = luaL_checkinteger(L, 3);
  if (rows < 1 || rows > 65535 || columns < 1 || columns > 65535)
    return mp_bad_argument(L, "%lld by %lld is no size for a terminal", (long long)rows,
                           (long long)columns);
  mp_gate(L, "process:resize", "resize the terminal of process %d", (int)self->pid);
  if (mp_process_resize(self->process, (unsigned short)rows, (unsigned short)columns, &err) < 0)
    return mp_throw(L, &err);
  return 0;
}

/* The streams go with the process, and their objects must know. */
static void close_handle(lua_State *L, int index, handle *self) {
  mp_process *process = mp_steal(self->process);
  for (int slot = UV_STDIN; slot <= UV_LAST; slot++) {
    if (lua_getiuservalue(L, index, slot) == LUA_TUSERDATA)
      ((mp_lua_stream *)lua_touserdata(L, -1))->stream = NULL;
    lua_pop(L, 1);
  }
  mp_process_close(process);
}

static int process_gc(lua_State *L) {
  close_handle(L, 1, check_handle(L));
  return 0;
}

static int process_close(lua_State *L) {
  const handle *self = check_handle(L);
  if (self->process && !self->detached && !mp_process_exited(self->process))
    mp_gate(L, "process:close", "kill process %d", (int)self->pid);
  return process_gc(L);
}

static int stopped_to_close(lua_State *L, mp_wait *wait) {
  (void)wait;
  close_handle(L, 1, check_handle(L));
  return 0;
}

/* The ladder, unless it is to outlive us; no gate, since this is how things are put right. */
static int process_end_of_scope(lua_State *L) {
  handle *self = check_handle(L);
  lua_settop(L, 1);
  if (self->process == NULL || self->detached)
    return process_gc(L);
  mp_process_stop(self->process, self->grace);
  return wait_for_end(L, self, "process:close", stopped_to_close);
}

/* -- Its fields ------------------------------------------------------------------------------- */

static int push_stream(lua_State *L, int slot) {
  lua_getiuservalue(L, 1, slot);
  const mp_lua_stream *stream = lua_touserdata(L, -1);
  if (stream == NULL || stream->stream == NULL)
    lua_pushnil(L);
  return 1;
}

/* upvalue 1: the methods */
static int process_index(lua_State *L) {
  const handle *self = check_handle(L);
  const char *name = luaL_checkstring(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
    return 1;
  lua_settop(L, 2);
  if (strcmp(name, "pid") == 0) {
    lua_pushinteger(L, self->pid);
    return 1;
  }
  if (strcmp(name, "stdin") == 0)
    return push_stream(L, UV_STDIN);
  if (strcmp(name, "stdout") == 0)
    return push_stream(L, UV_STDOUT);
  if (strcmp(name, "stderr") == 0)
    return push_stream(L, UV_STDERR);
  if (strcmp(name, "exited") == 0 && self->process) {
    const mp_process_exit *exit = mp_process_exited(self->process);
    if (exit)
      push_exit(L, exit);
    return exit != NULL;
  }
  return 0;
}

static int process_identity(lua_State *L) {
  return mp_lua_push_identity(L, check_open(L)->pid);
}

static int process_tostring(lua_State *L) {
  const handle *self = check_handle(L);
  const char *state = self->process == NULL              ? "closed"
                      : mp_process_exited(self->process) ? "exited"
                                                         : "running";
  lua_pushfstring(L, "process %d (%s)", (int)self->pid, state);
  return 1;
}

static void make_metatable(lua_State *L) {
  static const luaL_Reg methods[] = {{"read", process_read},
                                     {"read_line", process_read_line},
                                     {"read_all", process_read_all},
                                     {"lines", process_lines},
                                     {"write", process_write},
                                     {"close_stdin", process_close_stdin},
                                     {"wait", process_wait},
                                     {"stop", process_stop},
                                     {"kill", process_kill},
                                     {"resize", process_resize},
                                     {"identity", process_identity},
                                     {"close", process_close},
                                     {NULL, NULL}};
  static const luaL_Reg own[] = {{"__close", process_end_of_scope},
                                 {"__gc", process_gc},
                                 {"__tostring", process_tostring},
                                 {NULL, NULL}};
  luaL_newmetatable(L, PROCESS_METATABLE);
  luaL_setfuncs(L, own, 0);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, process_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

/* which(name, path) */
static int l_which(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  char *found;
  const char *name = luaL_checkstring(L, 1);
  if (mp_spawn_which(name, luaL_optstring(L, 2, NULL), &found, &err) < 0) {
    mp_error_reset(&err);
    lua_pushnil(L);
    return 1;
  }
  lua_pushstring(L, found);
  free(found);
  return 1;
}

int luaopen_moonport_process(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"run", l_run}, {"spawn", l_spawn}, {"which", l_which}, {NULL, NULL}};
  make_metatable(L);
  luaL_newlib(L, functions);
  return 1;
}
