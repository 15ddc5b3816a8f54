/* File work for Lua: on the pool while the task waits, or at once where Lua cannot wait.
 *
 * A binding checks its arguments, makes a job with fs_job_new, fills it in and ends with
 * `return fs_job_go(L, job)`. Strings may be borrowed from the arguments, which stay on the stack.
 */
#ifndef MP_LUA_FS_JOB_H
#define MP_LUA_FS_JOB_H

#include "core/fs.h"
#include "task.h"

typedef struct fs_job fs_job;
struct fs_job {
  mp_wait wait; /* first; its error is where `run` reports */
  int (*run)(
      fs_job *job); /* on the pool: touches only the job; -1 with job->wait.error filled in */
  int (*push)(lua_State *L, fs_job *job); /* pushes the results, returns their number */
  mp_op *op;
  atomic_bool stop;
  bool at_once;
  /* what the calls need: */
  const char *path, *other; /* borrowed */
  const char *bytes;        /* borrowed */
  size_t len, limit;
  uint64_t size; /* also an offset */
  mode_t mode;
  bool exclusive, no_sync, follow, flag;
  const char *owner, *group; /* borrowed names, or NULL: */
  uid_t uid;
  gid_t gid;
  /* and give: */
  char *text; /* owned */
  mp_buf content;
  mp_fs_entries entries;
  mp_fs_copied copied;
  struct stat st;
};

/* Pushes a new job. what: the function as scripts call it; static string. */
fs_job *fs_job_new(lua_State *L, const char *what, int (*run)(fs_job *job),
                   int (*push)(lua_State *L, fs_job *job));

int fs_job_go(lua_State *L, fs_job *job);

/* Results of common kinds. */
int fs_push_nothing(lua_State *L, fs_job *job);
int fs_push_text(lua_State *L, fs_job *job);

#endif
