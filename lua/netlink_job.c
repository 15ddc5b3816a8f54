#include "netlink_job.h"

#include "core/mem.h"
#include "errors.h"

#include <stdlib.h>

static void release(mp_wait *wait) {
  netlink_job *job = (netlink_job *)wait;
  mp_netlink_close(mp_steal(job->opened));
  mp_netlink_monitor_close(mp_steal(job->monitor));
  mp_netlink_links_reset(&job->links);
  mp_netlink_addresses_reset(&job->found_addresses);
  mp_netlink_routes_reset(&job->routes);
  mp_netlink_neighbours_reset(&job->neighbours);
  for (size_t i = 0; job->list && i < job->count; i++)
    free(job->list[i]);
  free(mp_steal(job->list));
}

static int finish(lua_State *L, mp_wait *wait) {
  netlink_job *job = (netlink_job *)wait;
  return job->push(L, job);
}

netlink_job *netlink_job_new(lua_State *L, netlink_box *box, const char *what,
                             int (*run)(netlink_job *job),
                             int (*push)(lua_State *L, netlink_job *job)) {
  netlink_job *job = mp_wait_new(L, sizeof *job, what, finish);
  job->wait.release = release;
  job->box = box;
  job->run = run;
  job->push = push;
  job->link.settings = MP_NETLINK_SETTINGS_INIT;
  job->address.valid = job->address.preferred = MP_NETLINK_FOREVER;
  job->link.owner = job->link.owner_group = job->link.peer_netns = -1;
  return job;
}

/* -- One after the other ---------------------------------------------------------------------- */

static void start_next(mp_loop *loop, netlink_box *box);

static void work(void *data) {
  netlink_job *job = data;
  job->run(job);
}

static mp_loop *loop_of(const netlink_job *job) {
  return mp_loop_of(job->wait.L);
}

static void close_now(netlink_box *box) {
  box->closing = false;
  mp_netlink_close(mp_steal(box->nl));
}

static void done(void *data, bool cancelled) {
  netlink_job *job = data;
  netlink_box *box = job->box;
  job->op = NULL;
  if (cancelled)
    mp_wait_cancelled(&job->wait);
  if (box) {
    box->first = job->next;
    box->busy = false;
    if (box->closing)
      close_now(box);
    start_next(loop_of(job), box);
  }
  mp_wait_done(&job->wait);
}

static void start(mp_loop *loop, netlink_job *job) {
  job->op = mp_work_start(loop, work, done, job);
}

static void start_next(mp_loop *loop, netlink_box *box) {
  if (!box->first || box->busy)
    return;
  box->busy = true;
  start(loop, box->first);
}

static void unlink_job(netlink_box *box, netlink_job *job) {
  netlink_job *before = NULL;
  for (netlink_job *at = box->first; at && at != job; at = at->next)
    before = at;
  if (before)
    before->next = job->next;
  else
    box->first = job->next;
}

/* What has begun ends soon; what has not is left out. */
static void cancel(mp_wait *wait) {
  netlink_job *job = (netlink_job *)wait;
  if (job->op) {
    mp_op_cancel(job->op);
    return;
  }
  unlink_job(job->box, job);
  mp_wait_cancelled(wait);
  mp_wait_done(wait);
}

int netlink_job_go(lua_State *L, netlink_job *job) {
  netlink_box *box = job->box;
  job->wait.cancel = cancel;
  if (box) {
    netlink_job **end = &box->first;
    while (*end)
      end = &(*end)->next;
    *end = job;
    start_next(mp_loop_of(L), box);
  } else {
    start(mp_loop_of(L), job);
  }
  return mp_wait_yield(L, &job->wait);
}

void netlink_box_close(netlink_box *box) {
  netlink_job *job = box->busy ? box->first->next : box->first;
  if (box->busy)
    box->first->next = NULL;
  else
    box->first = NULL;
  while (job) {
    netlink_job *next = job->next;
    mp_error_set(&job->wait.error, "netlink", "closed", "the connection was closed");
    mp_wait_done(&job->wait);
    job = next;
  }
  if (box->busy)
    box->closing = true;
  else
    close_now(box);
}

int netlink_push_nothing(lua_State *L, netlink_job *job) {
  (void)L;
  (void)job;
  return 0;
}
