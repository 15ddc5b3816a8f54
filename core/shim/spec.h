/* The spec: what to run and how, as it comes through the spec fd. The format is in shim.h. */
#ifndef MP_SHIM_SPEC_H
#define MP_SHIM_SPEC_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum {
  MP_SHIM_SPEC_MAX = 2 * 1024 * 1024, /* bytes of a whole spec: what execve would take */
  MP_SHIM_VALUE_MAX = 128 * 1024,     /* bytes of one record: execve's limit for one string */
  MP_SHIM_NAME_MAX = 128,
  MP_SHIM_CGROUPS_MAX = 16,
  MP_SHIM_GROUPS_MAX = 64,
};

typedef enum {
  MP_SHIM_RESTART_NO,
  MP_SHIM_RESTART_ON_FAILURE,
  MP_SHIM_RESTART_ALWAYS,
} mp_shim_restart;

typedef struct {
  char *bytes; /* owned: what all strings below point into */
  size_t len;

  const char *name; /* "" when not given */
  const char *id;   /* "" when not given */
  const char *exe;  /* the file to execute; argv[0] unless given */
  char **argv;      /* owned array, NULL-terminated, at least one entry */
  char **envp;      /* owned array, NULL-terminated: the whole environment */
  size_t argc;
  size_t envc; /* with an `unset`, which is an entry without a value */
  bool unsets;

  const char *cwd; /* absolute; "/" when not given */
  const char *cgroups[MP_SHIM_CGROUPS_MAX];
  size_t cgroup_count;
  bool has_user;
  uid_t uid;
  gid_t gid;
  gid_t groups[MP_SHIM_GROUPS_MAX];
  size_t group_count;

  mp_shim_restart restart;
  int restart_max; /* restarts in a row; -1: no limit */
  int64_t backoff_initial_ms;
  int64_t backoff_max_ms;
  int64_t backoff_reset_ms;

  int stop_signal;
  int64_t stop_grace_ms;
  int64_t drain_ms;

  uint64_t log_max_size;
  unsigned log_max_files;

  mode_t umask;
  bool has_nofile;
  struct rlimit nofile;
  bool has_nice;
  int nice;
  bool has_oom_score_adj;
  int oom_score_adj;
  bool no_new_privs;

  const char *notify;       /* where the service says that it is ready; NULL when nobody asks */
  char *notify_env;         /* owned: the same in its environment */
  const char *bounded_file; /* NULL: none */
  const char *output_pipes; /* the directory where both outputs have a name; NULL: they have none */
} mp_shim_spec;

/* Reads an fd (memfd, file or pipe; from its beginning where it can seek) to its end, at most
 * MP_SHIM_SPEC_MAX bytes. On success *bytes is the caller's to free. */
int mp_shim_spec_read(int fd, char **bytes, size_t *len, mp_shim_error *err);

/* Parses; takes over `bytes` (from malloc) whether it succeeds or not. On failure *spec is empty.
 * Errors name the record's key, never what an `env` record holds. */
int mp_shim_spec_parse(mp_shim_spec *spec, char *bytes, size_t len, mp_shim_error *err);

/* Parses what `exec` is to run beside the service `base`: the same records. What is not given is
 * the service's: user, directory, limits, cgroups; `env` is on top of its environment, and
 * `unset=NAME` takes away from that. arg[0] may be a name. *spec borrows from `base`. */
int mp_shim_spec_parse_exec(mp_shim_spec *spec, const mp_shim_spec *base, char *bytes, size_t len,
                            mp_shim_error *err);

/* Wipes and releases. Accepts an empty spec. */
void mp_shim_spec_free(mp_shim_spec *spec);

#endif
