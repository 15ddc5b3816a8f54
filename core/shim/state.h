/* The record of a supervised service, as JSON in `state.json` and in answers. Format in shim.h. */
#ifndef MP_SHIM_STATE_H
#define MP_SHIM_STATE_H

#include "error.h"
#include "notify.h"
#include "proc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef enum {
  MP_SHIM_STARTING,
  MP_SHIM_RUNNING,
  MP_SHIM_BACKOFF,
  MP_SHIM_STOPPING,
  MP_SHIM_EXITED,
  MP_SHIM_FAILED,
} mp_shim_status;

typedef struct {
  int code;   /* -1: ended by a signal */
  int signal; /* 0: exited */
  int oom;    /* 1, 0, or -1: there is no memory cgroup to ask */
  bool has_peak;
  uint64_t peak_memory;
  struct timespec started_at;
  struct timespec at;
} mp_shim_exit;

typedef struct {
  const char *name; /* borrowed */
  const char *id;
  mp_shim_status status;
  bool wanted;     /* false once somebody asked for a stop */
  const char *end; /* why it ended for good; static string, NULL while it did not */
  pid_t pid;       /* 0: no main process */
  unsigned long long pid_start_time;
  pid_t shim_pid;
  unsigned long long shim_start_time;
  char boot_id[MP_SHIM_BOOT_ID_LEN + 1];
  uint64_t restarts;          /* automatic ones, since the shim began */
  struct timespec started_at; /* of the present or last run; zero: none yet */
  struct timespec changed_at;
  struct timespec next_start_at; /* in backoff */
  bool has_exit;
  mp_shim_exit exit; /* the last one */
  bool has_error;
  mp_shim_error error; /* why the last start failed */
  uint64_t log_dropped_bytes;
  uint64_t log_dropped_lines;
  bool has_copy; /* of the output, for the host */
  uint64_t copy_dropped_bytes;
  uint64_t copy_dropped_lines;
  bool has_notify; /* the service was asked to tell of itself; of this run or the last one: */
  bool ready;
  bool stopping;
  char tells[MP_SHIM_TELLS_CAP];
} mp_shim_state;

enum { MP_SHIM_STATE_MAX = 6144 };

bool mp_shim_state_ended(const mp_shim_state *state);

/* "running", ... Static string. */
const char *mp_shim_status_name(mp_shim_status status);

/* Writes the JSON document on one line, without a newline. Returns its length. */
size_t mp_shim_state_format(const mp_shim_state *state, char out[MP_SHIM_STATE_MAX]);

/* Formats and puts it in place of `state.json` in the directory. 0, or -1 with errno and the old
 * record untouched. */
int mp_shim_state_save(const mp_shim_state *state, int dir);

#endif
