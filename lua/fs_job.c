#include "fs_job.h"

#include "errors.h"

#include <stdlib.h>
#include <string.h>

#define JOB_AT_ONCE "moonport.fs.job"

static void release(mp_wait *wait) {
  fs_job *job = (fs_job *)wait;
  free(job->text);
  job->text = NULL;
  mp_buf_free(&job->content);
  mp_fs_entries_free(&job->entries);
}

static int job_gc(lua_State *L) {
  fs_job *job = lua_touserdata(L, 1);
  mp_error_reset(&job->wait.error);
  release(&job->wait);
  return 0;
}

static int finish(lua_State *L, mp_wait *wait) {
  fs_job *job = (fs_job *)wait;
  return job->push(L, job);
}

static fs_job *new_at_once(lua_State *L) {
  fs_job *job = lua_newuserdatauv(L, sizeof *job, 0);
  memset(job, 0, sizeof *job);
  job->at_once = true;
  if (luaL_newmetatable(L, JOB_AT_ONCE)) {
    lua_pushcfunction(L, job_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return job;
}

fs_job *fs_job_new(lua_State *L, const char *what, int (*run)(fs_job *job),
                   int (*push)(lua_State *L, fs_job *job)) {
  fs_job *job = mp_can_wait(L) ? mp_wait_new(L, sizeof *job, what, finish) : new_at_once(L);
  job->wait.release = release;
  job->run = run;
  job->push = push;
  return job;
}

static void work(void *data) {
  fs_job *job = data;
  job->run(job);
}

static void done(void *data, bool cancelled) {
  fs_job *job = data;
  job->op = NULL;
  if (cancelled)
    mp_wait_cancelled(&job->wait);
  mp_wait_done(&job->wait);
}

/* What has begun ends soon where it looks at `stop`, and else goes on to its end. */
static void cancel(mp_wait *wait) {
  fs_job *job = (fs_job *)wait;
  atomic_store(&job->stop, true);
  if (job->op)
    mp_op_cancel(job->op);
}

int fs_job_go(lua_State *L, fs_job *job) {
  if (job->at_once)
    return job->run(job) < 0 ? mp_throw(L, &job->wait.error) : job->push(L, job);
  job->wait.cancel = cancel;
  job->op = mp_work_start(mp_loop_of(L), work, done, job);
  return mp_wait_yield(L, &job->wait);
}

int fs_push_nothing(lua_State *L, fs_job *job) {
  (void)L;
  (void)job;
  return 0;
}

int fs_push_text(lua_State *L, fs_job *job) {
  lua_pushstring(L, job->text);
  return 1;
}
