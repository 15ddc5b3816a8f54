/* The options of process.run and process.spawn, read from a Lua table. */
#ifndef MP_LUA_PROCESS_OPTIONS_H
#define MP_LUA_PROCESS_OPTIONS_H

#include "core/cgroup.h"
#include "core/process.h"

#include <lua.h>

/* A userdata that owns all it points to. */
typedef struct {
  mp_process_run_options run; /* run.spawn is for process.spawn */
  char *user_name, *group_name;
  bool wants_user; /* look them up into `user` and set run.spawn.user, then start */
  mp_user user;
  int cgroup_fds[MP_CGROUP_FDS_MAX];
  int netns_fd; /* 0: none */
  mp_spawn_rlimit rlimits[16];
  void **blocks; /* everything allocated */
  size_t block_count;
} mp_process_call;

/* Reads the table at index 1 and pushes the userdata. call: "process.run" or "process.spawn", which
 * says what is allowed and what the defaults are. Raises where something is not right. */
mp_process_call *mp_process_call_read(lua_State *L, const char *call, bool is_run);

#endif
