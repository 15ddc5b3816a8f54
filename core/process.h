/* Child processes on the loop: argv and never a shell, everything about them explicit.
 *
 * A child leads a session of its own unless asked otherwise, and signals go to its whole process
 * group. It stays a zombie of ours until it has *ended*, so neither its pid nor its group can have
 * been recycled when we signal it. It dies with us (SIGKILL by the kernel) unless detached.
 *
 * A process has ended when its exit is known and its piped outputs have been closed by everyone. A
 * descendant that keeps them open does not hold us up for ever: `drain` milliseconds after the
 * exit, what is in the pipes then is the last that is read. And a process that even SIGKILL has not
 * ended after `give_up` milliseconds is let go, with the error code "stuck".
 *
 * Everything runs on the loop's thread. Error domain: "process". */
#ifndef MP_CORE_PROCESS_H
#define MP_CORE_PROCESS_H

#include "buf.h"
#include "spawn.h"
#include "stream.h"

typedef enum {
  MP_STDIO_NULL,
  MP_STDIO_INHERIT,
  MP_STDIO_PIPE,
  MP_STDIO_FILE,   /* stdin reads it; outputs make it if need be */
  MP_STDIO_FD,     /* a descriptor of the caller's, who keeps it */
  MP_STDIO_STDOUT, /* stderr only: wherever stdout goes */
} mp_stdio_kind;

typedef struct {
  mp_stdio_kind kind;
  const char *path; /* MP_STDIO_FILE; opened with our rights, never blocking on a FIFO */
  bool append;      /* else an output file is truncated */
  mode_t mode;      /* of a new file; 0: 0600 */
  int fd;           /* MP_STDIO_FD */
} mp_stdio;

/* The defaults of `drain` and `give_up`, in milliseconds. */
#define MP_PROCESS_DRAIN 1000
#define MP_PROCESS_GIVE_UP 10000

/* Borrowed for the length of the call. Zero is the default for everything but argv. */
typedef struct {
  const char *const *argv; /* argv[0] is looked up in the child's PATH unless it has a slash */
  const char *const *env;  /* "NAME=value"; NULL: ours */
  const char *cwd;
  const mp_user *user;
  mp_stdio in;
  mp_stdio out;
  mp_stdio err;
  /* A new terminal takes the place of all three; it is the child's controlling one. */
  bool pty;
  unsigned short rows, columns; /* 0: 24 by 80 */
  mp_spawn_scope scope;
  /* Outlives us: no death signal, and mp_process_close lets it go. */
  bool detached;
  uint64_t drain;     /* milliseconds; 0: MP_PROCESS_DRAIN */
  uint64_t give_up;   /* milliseconds after SIGKILL; 0: MP_PROCESS_GIVE_UP */
  const int *cgroups; /* open cgroup.procs files to enter (mp_cgroup_open_procs) */
  size_t cgroup_count;
  int netns;
  const mp_spawn_rlimit *rlimits;
  size_t rlimit_count;
  const int *fds; /* become descriptors 3, 4, ...; the caller keeps its own */
  size_t fd_count;
} mp_process_options;

typedef struct {
  int code;   /* of exit; -1 when a signal ended it */
  int signal; /* that ended it; 0: none */
  bool core_dumped;
  uint64_t wall_ms; /* from start to exit */
  uint64_t cpu_ms;  /* user and system, with the children it waited for */
} mp_process_exit;

typedef struct mp_process mp_process;

int mp_process_spawn(mp_loop *loop, const mp_process_options *options, mp_process **process,
                     mp_error *err);

pid_t mp_process_pid(const mp_process *process);

/* The streams to and from the child, owned by the process; NULL where no pipe was asked for. With a
 * terminal, in and out are the same one. */
mp_stream *mp_process_in(const mp_process *process);
mp_stream *mp_process_out(const mp_process *process);
mp_stream *mp_process_err(const mp_process *process);

/* How it exited, or NULL while it runs. */
const mp_process_exit *mp_process_exited(const mp_process *process);

/* Calls back when the process has ended. Outputs that nobody reads are absorbed meanwhile (`keep`
 * bytes of each stay readable). Several may wait. `exit` is NULL on error (cancelled). */
typedef void (*mp_process_wait_cb)(void *data, const mp_process_exit *exit, const mp_error *err);
int mp_process_wait(mp_process *process, size_t keep, mp_process_wait_cb cb, void *data, mp_op **op,
                    mp_error *err);

/* Signals the process group (the process alone with MP_SPAWN_SHARED). ESRCH once it has ended. */
int mp_process_signal(mp_process *process, int number, mp_error *err);

/* SIGTERM (and SIGCONT, since a stopped process could not act on it) to the group; after `grace`
 * milliseconds SIGKILL. Returns at once; mp_process_wait tells the end. A second call can only
 * shorten the grace. */
void mp_process_stop(mp_process *process, uint64_t grace);

/* Sets the terminal's size; the child gets SIGWINCH. */
int mp_process_resize(mp_process *process, unsigned short rows, unsigned short columns,
                      mp_error *err);

/* Closes the streams and kills what is still running, its whole group, unless it is detached;
 * reaping happens behind the scenes. Operations under way end with MP_CANCELLED after it has
 * returned. The process is invalid on return. Accepts NULL. */
void mp_process_close(mp_process *process);

/* -- From start to end in one call ------------------------------------------------------------ */

typedef struct {
  mp_process_options spawn; /* outputs that are pipes are captured; a piped stdin gets `input` */
  const void *input;        /* borrowed for the length of the call */
  size_t input_len;
  size_t limit;     /* bytes of each output; 0: 16 MiB */
  bool truncate;    /* keep the first `limit` bytes and go on, in place of MP_LIMIT */
  uint64_t timeout; /* milliseconds; 0: none */
  uint64_t grace;   /* between SIGTERM and SIGKILL, for timeout, limit and cancel; 0: 5 s */
} mp_process_run_options;

typedef struct {
  mp_process_exit exit;
  mp_buf out; /* the callback may move these out (mp_steal-like: copy and set MP_BUF_INIT) */
  mp_buf err;
  bool truncated;
} mp_process_result;

/* result: always there, also beside an error (MP_TIMEOUT, MP_LIMIT, MP_CANCELLED), for its output
 * and exit. An exit code other than 0 is no error here. What could not even be killed is the
 * error's cause, with code "stuck". */
typedef void (*mp_process_run_cb)(void *data, mp_process_result *result, const mp_error *err);
int mp_process_run(mp_loop *loop, const mp_process_run_options *options, mp_process_run_cb cb,
                   void *data, mp_op **op, mp_error *err);

#endif
