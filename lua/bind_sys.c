/* moonport.core.sys: facts about the host and ourselves, and processes by identity. */
#include "bind_sys.h"

#include "bind_signals.h"
#include "core/cgroup.h"
#include "core/disk.h"
#include "core/identity_wait.h"
#include "core/sysinfo.h"
#include "errors.h"
#include "gate.h"
#include "task.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#include <unistd.h>

/* -- Signals and identities ------------------------------------------------------------------- */

int mp_lua_check_signal(lua_State *L, int index, int by_default) {
  if (lua_isnoneornil(L, index) && by_default)
    return by_default;
  const char *name = lua_tostring(L, index);
  int number = name ? mp_sys_signal_number(name) : 0;
  if (number == 0)
    mp_bad_argument(L, "`%s` is no signal; \"SIGTERM\", \"TERM\" and 15 are",
                    name ? name : luaL_typename(L, index));
  return number;
}

int mp_lua_push_identity(lua_State *L, pid_t pid) {
  mp_error err = MP_ERROR_INIT;
  mp_identity who;
  if (mp_identity_of(pid, &who, &err) < 0)
    return mp_throw(L, &err);
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, who.pid);
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, (lua_Integer)who.start_ticks);
  lua_setfield(L, -2, "start");
  lua_pushstring(L, who.boot_id);
  lua_setfield(L, -2, "boot_id");
  return 1;
}

static void check_identity(lua_State *L, int index, mp_identity *who) {
  *who = (mp_identity){0};
  luaL_checktype(L, index, LUA_TTABLE);
  lua_getfield(L, index, "pid");
  lua_getfield(L, index, "start");
  lua_getfield(L, index, "boot_id");
  size_t len = 0;
  const char *boot_id = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
  if (!lua_isinteger(L, -3) || !lua_isinteger(L, -2) || len != MP_BOOT_ID_SIZE - 1)
    mp_bad_argument(L, "an identity is {pid, start, boot_id}, as sys.identity gives it");
  who->pid = (pid_t)lua_tointeger(L, -3);
  who->start_ticks = (uint64_t)lua_tointeger(L, -2);
  memcpy(who->boot_id, boot_id, len);
  lua_pop(L, 3);
}

/* identity(pid) */
static int l_identity(lua_State *L) {
  return mp_lua_push_identity(L, (pid_t)luaL_optinteger(L, 1, getpid()));
}

/* is_alive(identity) */
static int l_is_alive(lua_State *L) {
  mp_identity who;
  check_identity(L, 1, &who);
  lua_pushboolean(L, mp_identity_is_alive(&who));
  return 1;
}

/* signal(identity, signal): false when it has gone */
static int l_signal(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  mp_identity who;
  check_identity(L, 1, &who);
  int number = mp_lua_check_signal(L, 2, 0);
  mp_gate(L, "process.signal", "signal process %d", (int)who.pid);
  int rc = mp_identity_signal(&who, number, &err);
  if (rc < 0 && !mp_error_is(&err, "ESRCH"))
    return mp_throw(L, &err);
  mp_error_reset(&err);
  lua_pushboolean(L, rc == 0);
  return 1;
}

static void process_gone(void *data, bool cancelled) {
  mp_wait *wait = data;
  if (cancelled)
    mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

static int no_results(lua_State *L, mp_wait *wait) {
  (void)L;
  (void)wait;
  return 0;
}

/* wait_gone(identity) */
static int l_wait_gone(lua_State *L) {
  mp_identity who;
  check_identity(L, 1, &who);
  mp_wait *wait = mp_wait_new(L, sizeof *wait, "sys.wait_gone", no_results);
  wait->op = mp_identity_wait_start(mp_loop_of(L), &who, process_gone, wait, &wait->error);
  if (wait->op == NULL)
    return mp_throw(L, &wait->error);
  return mp_wait_yield(L, wait);
}

/* -- Facts ------------------------------------------------------------------------------------ */

static void set_text(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

/* uname(): system, release, version, machine, hostname */
static int l_uname(lua_State *L) {
  struct utsname names;
  uname(&names);
  lua_createtable(L, 0, 5);
  set_text(L, "system", names.sysname);
  set_text(L, "release", names.release);
  set_text(L, "version", names.version);
  set_text(L, "machine", names.machine);
  set_text(L, "hostname", names.nodename);
  return 1;
}

static int l_hostname(lua_State *L) {
  struct utsname names;
  uname(&names);
  lua_pushstring(L, names.nodename);
  return 1;
}

static int l_boot_id(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  char id[MP_BOOT_ID_SIZE];
  if (mp_identity_boot_id(id, &err) < 0)
    return mp_throw(L, &err);
  lua_pushstring(L, id);
  return 1;
}

static int l_cpus(lua_State *L) {
  lua_pushinteger(L, mp_sys_cpus());
  return 1;
}

/* disk(path): total, available, inodes, network */
static int l_disk(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  mp_disk disk;
  if (mp_disk_read(luaL_checkstring(L, 1), &disk, &err) < 0)
    return mp_throw(L, &err);
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, (lua_Integer)disk.total);
  lua_setfield(L, -2, "total");
  lua_pushinteger(L, (lua_Integer)disk.available);
  lua_setfield(L, -2, "available");
  if (disk.counts_inodes) {
    lua_pushinteger(L, (lua_Integer)disk.inodes);
    lua_setfield(L, -2, "inodes");
  }
  lua_pushboolean(L, disk.network);
  lua_setfield(L, -2, "network");
  return 1;
}

/* memory(): total, available */
static int l_memory(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  mp_sys_memory memory;
  if (mp_sys_read_memory(&memory, &err) < 0)
    return mp_throw(L, &err);
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, (lua_Integer)memory.total);
  lua_setfield(L, -2, "total");
  lua_pushinteger(L, (lua_Integer)memory.available);
  lua_setfield(L, -2, "available");
  return 1;
}

static int l_uptime(lua_State *L) {
  lua_pushnumber(L, mp_sys_uptime());
  return 1;
}

static int l_page_size(lua_State *L) {
  lua_pushinteger(L, sysconf(_SC_PAGESIZE));
  return 1;
}

static int l_landlock(lua_State *L) {
  lua_pushinteger(L, mp_sys_landlock());
  return 1;
}

static int l_uid(lua_State *L) {
  lua_pushinteger(L, getuid());
  return 1;
}

static int l_euid(lua_State *L) {
  lua_pushinteger(L, geteuid());
  return 1;
}

static int l_gid(lua_State *L) {
  lua_pushinteger(L, getgid());
  return 1;
}

static int l_egid(lua_State *L) {
  lua_pushinteger(L, getegid());
  return 1;
}

static int l_pid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

static int l_ppid(lua_State *L) {
  lua_pushinteger(L, getppid());
  return 1;
}

static int l_cgroup_mode(lua_State *L) {
  lua_pushstring(L, mp_cgroup_mode_name(mp_cgroup_mode()));
  return 1;
}

/* check_kvm(): raises with what to do about it */
static int l_check_kvm(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  if (mp_sys_check_kvm(&err) < 0)
    return mp_throw(L, &err);
  return 0;
}

static uint64_t our_capabilities(lua_State *L) {
  mp_error err = MP_ERROR_INIT;
  uint64_t have = 0;
  if (mp_sys_capabilities(&have, &err) < 0)
    mp_throw(L, &err);
  return have;
}

/* capabilities(): a list of names */
static int l_capabilities(lua_State *L) {
  uint64_t have = our_capabilities(L);
  lua_newtable(L);
  for (unsigned i = 0, count = 0; i < 64; i++) {
    const char *name = mp_sys_capability_name(i);
    if (name == NULL || !(have >> i & 1))
      continue;
    lua_pushstring(L, name);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static int l_has_capability(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  int number = mp_sys_capability_number(name);
  if (number < 0)
    return mp_bad_argument(L, "there is no capability `%s`; see capabilities(7)", name);
  lua_pushboolean(L, (our_capabilities(L) >> number & 1) != 0);
  return 1;
}

int luaopen_moonport_sys(lua_State *L) {
  static const luaL_Reg functions[] = {{"identity", l_identity},
                                       {"wait_gone", l_wait_gone},
                                       {"is_alive", l_is_alive},
                                       {"signal", l_signal},
                                       {"signals", mp_lua_signals},
                                       {"uname", l_uname},
                                       {"hostname", l_hostname},
                                       {"boot_id", l_boot_id},
                                       {"cpus", l_cpus},
                                       {"memory", l_memory},
                                       {"disk", l_disk},
                                       {"uptime", l_uptime},
                                       {"page_size", l_page_size},
                                       {"landlock", l_landlock},
                                       {"uid", l_uid},
                                       {"euid", l_euid},
                                       {"gid", l_gid},
                                       {"egid", l_egid},
                                       {"pid", l_pid},
                                       {"ppid", l_ppid},
                                       {"cgroup_mode", l_cgroup_mode},
                                       {"check_kvm", l_check_kvm},
                                       {"capabilities", l_capabilities},
                                       {"has_capability", l_has_capability},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  lua_pushboolean(L, getauxval(AT_SECURE) != 0);
  lua_setfield(L, -2, "secure");
  return 1;
}
