/* The supervisor: one service from its first start to its end for good. */
#ifndef MP_SHIM_SUPERVISE_H
#define MP_SHIM_SUPERVISE_H

#include "bounded.h"
#include "channels.h"
#include "control.h"
#include "log.h"
#include "loop.h"
#include "network.h"
#include "output.h"
#include "policy.h"
#include "service.h"
#include "session.h"
#include "spec.h"
#include "state.h"

typedef struct {
  int dir;                 /* fd of the service's directory */
  mp_shim_spec *spec;      /* borrowed */
  const char *socket_path; /* NULL: socket_fd instead */
  int socket_fd;           /* -1: none */
  int lock_fd;             /* holds the directory's lock; closed when the shim is done with it */
  bool stay;
  bool agent; /* in a guest: neither socket, but the channels to the host */
  /* Called exactly once, when the first start succeeded (pid) or failed (pid 0, *err). */
  void (*on_ready)(void *context, pid_t pid, const mp_shim_error *err);
  void *context;
} mp_shim_supervise_options;

/* Runs to the end, once in a process, which should have no other children and no other thread;
 * signals are blocked and stay so. Returns 0, or -1 when the first start failed (told to on_ready).
 */
int mp_shim_supervise(const mp_shim_supervise_options *options);

/* ---- Shared by supervise.c (set-up, records, reaping), life.c (starts and ends), readiness.c
 * (what the service tells of itself) and requests.c. */

typedef enum {
  MP_SHIM_IDLE,     /* no run: in backoff, or ended for good */
  MP_SHIM_UP,       /* the main process lives */
  MP_SHIM_CLEARING, /* it ended; what it left is being cleared away */
} mp_shim_phase;

typedef enum {
  MP_SHIM_GOAL_POLICY, /* when the run is over, ask the policy */
  MP_SHIM_GOAL_RESTART,
  MP_SHIM_GOAL_STOP,
  MP_SHIM_GOAL_TERMINATE, /* a stop that nobody asked for: the shim got a signal */
} mp_shim_goal;

/* mp_shim_client.waits_for */
enum { MP_SHIM_FOR_NOTHING, MP_SHIM_FOR_END, MP_SHIM_FOR_START, MP_SHIM_FOR_NETWORK };

typedef struct {
  mp_shim_supervise_options options;
  mp_shim_spec *spec;
  mp_shim_loop loop;
  mp_shim_control control;
  mp_shim_log log;   /* the service's output */
  mp_shim_log notes; /* the shim's own */
  mp_shim_stream streams[2];
  mp_shim_service service;
  mp_shim_sessions sessions;
  mp_shim_channels channels; /* of an agent, with the copy of the output */
  mp_shim_output copy;
  mp_shim_network network;
  mp_shim_source output[2];
  mp_shim_source exec;
  mp_shim_source signals;
  mp_shim_source notify; /* fd -1: the service was not asked to tell of itself */
  mp_shim_bounded bounded;
  bool unbounded;     /* the file system makes no holes, and that was told */
  struct rlimit core; /* what the service gets for RLIMIT_CORE */

  mp_shim_state state;
  mp_shim_backoff backoff;
  mp_shim_phase phase;
  mp_shim_goal goal;
  bool ready_told;
  bool start_failed; /* this run never executed the program */
  bool killing;      /* the ladder of this run has reached SIGKILL */
  bool asked_rest;   /* what the main process left was sent the stop signal */
  int64_t look_wait_ms;
  int64_t kill_until; /* 0: not begun */
  int64_t began_ms;
  int64_t ended_ms;
  uint64_t oom_before;
  bool knows_oom;
  int peak_fd;
  long peak_rss_kib; /* of single processes, from wait4 */

  mp_shim_timer ladder; /* the next rung */
  mp_shim_timer look;   /* another look at what is left */
  mp_shim_timer start;  /* the end of a backoff */
  mp_shim_timer drain;  /* the pipes are closed, whoever holds them */
  mp_shim_timer save;   /* writes the record again */
  mp_shim_timer flush;  /* clients had time enough to take their answers */
  int64_t save_wait_ms;
  bool unsaved;
  int64_t tell_at; /* not before then is a new STATUS told */
  bool untold;     /* there is one, and `save` is set for it */
  bool strangers;  /* in this run somebody else has spoken on the notify socket */
  bool leaving;    /* exits once the record is written and the clients have their answers */
  bool force;      /* does not wait for the record */
  bool flushed;    /* the clients had time enough */
  bool terminating;
  bool never_ran; /* the very first start failed */

  /* Answers that became due. They go out between two turns of the loop, since a client may have
   * sent its next request already, which is then carried out: never in the middle of a change. */
  bool due_started;
  bool due_start_failed;
  bool due_ended;

  /* Of the streams. Behind all else, so that what nothing was written to is never touched. */
  char held[2][MP_SHIM_LINE_MAX];
} mp_shim_supervisor;

/* supervise.c */
void mp_shim_publish(mp_shim_supervisor *sup);
void mp_shim_set_status(mp_shim_supervisor *sup, mp_shim_status status);
void mp_shim_refresh(mp_shim_supervisor *sup); /* counters kept elsewhere, into `state` */
void mp_shim_leave(mp_shim_supervisor *sup);

/* life.c */
void mp_shim_begin(mp_shim_supervisor *sup);
void mp_shim_main_ended(mp_shim_supervisor *sup, int status);
void mp_shim_clear(mp_shim_supervisor *sup);
void mp_shim_ask_to_end(mp_shim_supervisor *sup, mp_shim_goal goal, int signal, int64_t grace_ms);
void mp_shim_life_init(mp_shim_supervisor *sup);
/* Looks whether it is known if the program was executed, as long as it is not. */
void mp_shim_look_at_exec(mp_shim_supervisor *sup);

/* readiness.c */
int mp_shim_readiness_open(mp_shim_supervisor *sup, mp_shim_error *err);
void mp_shim_readiness_begin(mp_shim_supervisor *sup); /* of a run */
void mp_shim_readiness_close(mp_shim_supervisor *sup);

/* requests.c */
void mp_shim_on_request(mp_shim_client *client, char *line, size_t len);
void mp_shim_deliver(mp_shim_supervisor *sup); /* the answers that are due */
void mp_shim_announce(mp_shim_supervisor *sup);

#endif
