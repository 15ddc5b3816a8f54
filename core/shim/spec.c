#include "spec.h"

#include "signals.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int64_t longest_ms = INT64_C(1000) * 3600 * 24 * 365;

static int bad(mp_shim_error *err, const char *key, const char *value, const char *expected) {
  return mp_shim_fail(err, "invalid", "`%s=%.64s`: expected %s", key, value, expected);
}

static int parse_number(const char *key, const char *value, int base, int64_t low, int64_t high,
                        int64_t *out, mp_shim_error *err) {
  char *end;
  errno = 0;
  long long number = strtoll(value, &end, base);
  bool begins = (*value >= '0' && *value <= '9') || *value == '-';
  if (!begins || *end != '\0' || errno != 0 || number < low || number > high)
    return mp_shim_fail(err, "invalid",
                        "`%s=%.64s`: expected a whole number from %" PRId64 " to %" PRId64, key,
                        value, low, high);
  *out = number;
  return 0;
}

/* One setter per kind of key. `key` is passed for messages. */
typedef int (*setter)(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err);

#define NUMBER_SETTER(field, base, low, high)                                                      \
  static int set_##field(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {   \
    int64_t number = 0;                                                                            \
    if (parse_number(key, value, base, low, high, &number, err) < 0)                               \
      return -1;                                                                                   \
    spec->field = number;                                                                          \
    return 0;                                                                                      \
  }

NUMBER_SETTER(restart_max, 10, 0, 1000000)
NUMBER_SETTER(backoff_initial_ms, 10, 0, longest_ms)
NUMBER_SETTER(backoff_max_ms, 10, 0, longest_ms)
NUMBER_SETTER(backoff_reset_ms, 10, 0, longest_ms)
NUMBER_SETTER(stop_grace_ms, 10, 0, longest_ms)
NUMBER_SETTER(drain_ms, 10, 0, longest_ms)
NUMBER_SETTER(log_max_size, 10, 4096, INT64_MAX)
NUMBER_SETTER(log_max_files, 10, 1, 1000)
NUMBER_SETTER(umask, 8, 0, 0777)
NUMBER_SETTER(uid, 10, 0, UINT32_MAX - 1)
NUMBER_SETTER(gid, 10, 0, UINT32_MAX - 1)
NUMBER_SETTER(no_new_privs, 10, 0, 1)
NUMBER_SETTER(nice, 10, -20, 19)
NUMBER_SETTER(oom_score_adj, 10, -1000, 1000)

static int set_version(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  (void)spec;
  (void)key;
  if (strcmp(value, "1") != 0)
    return mp_shim_fail(err, "version", "spec version `%.16s` is not known; this shim reads 1",
                        value);
  return 0;
}

static int set_end(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  (void)spec;
  return strcmp(value, "1") == 0 ? 0 : bad(err, key, value, "1");
}

static int check_label(const char *key, const char *value, mp_shim_error *err) {
  if (strlen(value) > MP_SHIM_NAME_MAX)
    return mp_shim_fail(err, "limit", "`%s` is longer than %d bytes", key, MP_SHIM_NAME_MAX);
  for (const char *c = value; *c; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f)
      return mp_shim_fail(err, "invalid", "`%s` holds a control character", key);
  return 0;
}

static int set_name(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  spec->name = value;
  return check_label(key, value, err);
}

static int set_id(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  spec->id = value;
  return check_label(key, value, err);
}

static int set_exe(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  spec->exe = value;
  return *value == '/' ? 0 : bad(err, key, value, "an absolute path");
}

static int set_arg(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  (void)key;
  (void)err;
  spec->argv[spec->argc++] = value;
  return 0;
}

static int set_env(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  (void)key;
  if (*value == '=' || strchr(value, '=') == NULL)
    return mp_shim_fail(err, "invalid", "`env` record %zu is not NAME=VALUE", spec->envc + 1);
  spec->envp[spec->envc++] = value;
  return 0;
}

static int set_unset(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  if (*value == '\0' || strchr(value, '='))
    return bad(err, key, value, "a variable's name");
  spec->envp[spec->envc++] = value;
  spec->unsets = true;
  return 0;
}

static int set_cwd(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  spec->cwd = value;
  return *value == '/' ? 0 : bad(err, key, value, "an absolute path");
}

static int set_cgroup(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  if (*value != '/')
    return bad(err, key, value, "an absolute path");
  if (spec->cgroup_count == MP_SHIM_CGROUPS_MAX)
    return mp_shim_fail(err, "limit", "more than %d `cgroup` records", MP_SHIM_CGROUPS_MAX);
  spec->cgroups[spec->cgroup_count++] = value;
  return 0;
}

static int set_group(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  int64_t number = 0;
  if (parse_number(key, value, 10, 0, UINT32_MAX - 1, &number, err) < 0)
    return -1;
  if (spec->group_count == MP_SHIM_GROUPS_MAX)
    return mp_shim_fail(err, "limit", "more than %d `group` records", MP_SHIM_GROUPS_MAX);
  spec->groups[spec->group_count++] = (gid_t)number;
  return 0;
}

static int set_restart(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  static const char *const policies[] = {"no", "on-failure", "always"};
  for (size_t i = 0; i < 3; i++) {
    if (strcmp(value, policies[i]) == 0) {
      spec->restart = (mp_shim_restart)i;
      return 0;
    }
  }
  return bad(err, key, value, "no, on-failure or always");
}

static int set_stop_signal(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  spec->stop_signal = mp_shim_signal_number(value);
  return spec->stop_signal > 0 ? 0 : bad(err, key, value, "a signal such as TERM");
}

static int set_nofile(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  char *colon = strchr(value, ':');
  int64_t soft = 0, hard;
  if (colon)
    *colon = '\0';
  if (parse_number(key, value, 10, 1, INT32_MAX, &soft, err) < 0)
    return -1;
  hard = soft;
  if (colon && parse_number(key, colon + 1, 10, soft, INT32_MAX, &hard, err) < 0)
    return -1;
  spec->nofile = (struct rlimit){.rlim_cur = (rlim_t)soft, .rlim_max = (rlim_t)hard};
  return 0;
}

static int set_notify(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  spec->notify = value;
  return *value == '/' ? 0 : bad(err, key, value, "an absolute path");
}

static int set_bounded_file(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  spec->bounded_file = value;
  return *value == '/' ? 0 : bad(err, key, value, "an absolute path");
}

static int set_output_pipes(mp_shim_spec *spec, const char *key, char *value, mp_shim_error *err) {
  spec->output_pipes = value;
  return *value == '/' ? 0 : bad(err, key, value, "an absolute path");
}

static const struct field {
  const char *key;
  setter set;
  bool repeats;
} fields[] = {
    {"version", set_version, false},
    {"end", set_end, false},
    {"name", set_name, false},
    {"id", set_id, false},
    {"exe", set_exe, false},
    {"arg", set_arg, true},
    {"env", set_env, true},
    {"unset", set_unset, true},
    {"cwd", set_cwd, false},
    {"uid", set_uid, false},
    {"gid", set_gid, false},
    {"group", set_group, true},
    {"cgroup", set_cgroup, true},
    {"restart", set_restart, false},
    {"restart_max", set_restart_max, false},
    {"backoff_initial_ms", set_backoff_initial_ms, false},
    {"backoff_max_ms", set_backoff_max_ms, false},
    {"backoff_reset_ms", set_backoff_reset_ms, false},
    {"stop_signal", set_stop_signal, false},
    {"stop_grace_ms", set_stop_grace_ms, false},
    {"drain_ms", set_drain_ms, false},
    {"log_max_size", set_log_max_size, false},
    {"log_max_files", set_log_max_files, false},
    {"umask", set_umask, false},
    {"nofile", set_nofile, false},
    {"nice", set_nice, false},
    {"oom_score_adj", set_oom_score_adj, false},
    {"no_new_privs", set_no_new_privs, false},
    {"notify", set_notify, false},
    {"bounded_file", set_bounded_file, false},
    {"output_pipes", set_output_pipes, false},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

static int field_index(const char *key) {
  for (int i = 0; i < FIELD_COUNT; i++)
    if (strcmp(fields[i].key, key) == 0)
      return i;
  return -1;
}

static bool was_given(uint64_t seen, const char *key) {
  return seen & (UINT64_C(1) << field_index(key));
}

/* A key is quoted only when it looks like one: where framing went wrong it could be part of a
 * secret. */
static int unknown_key(const char *key, size_t number, mp_shim_error *err) {
  size_t len = strspn(key, "abcdefghijklmnopqrstuvwxyz_0123456789");
  if (key[len] != '\0' || len == 0 || len > 32)
    return mp_shim_fail(err, "invalid", "record %zu of the spec has no valid key", number);
  return mp_shim_fail(err, "unknown-key", "unknown key `%s` in the spec", key);
}

static int parse_record(mp_shim_spec *spec, char *record, size_t number, uint64_t *seen,
                        mp_shim_error *err) {
  char *equals = strchr(record, '=');
  if (equals == NULL)
    return mp_shim_fail(err, "invalid", "record %zu of the spec is not key=value", number);
  *equals = '\0';
  int index = field_index(record);
  if (index < 0)
    return unknown_key(record, number, err);
  const struct field *field = &fields[index];
  if (number == 1 && field->set != set_version)
    return mp_shim_fail(err, "version", "the spec does not begin with `version=1`");
  uint64_t bit = UINT64_C(1) << index;
  if (*seen & bit && !field->repeats)
    return mp_shim_fail(err, "invalid", "`%s` is given twice", field->key);
  *seen |= bit;
  if (strlen(equals + 1) >= MP_SHIM_VALUE_MAX)
    return mp_shim_fail(err, "limit", "record %zu (`%s`) is longer than %d bytes", number,
                        field->key, MP_SHIM_VALUE_MAX);
  return field->set(spec, field->key, equals + 1, err);
}

/* Whether two entries of an environment are of one variable. */
static bool same_name(const char *a, const char *b) {
  size_t len = strcspn(a, "=");
  return len == strcspn(b, "=") && strncmp(a, b, len) == 0;
}

static bool has_name(char *const *list, const char *entry) {
  while (*list && !same_name(*list, entry))
    list++;
  return *list != NULL;
}

/* By this the service finds the socket. The record itself was counted, so there is room. */
static int add_notify(mp_shim_spec *spec, mp_shim_error *err) {
  if (asprintf(&spec->notify_env, "NOTIFY_SOCKET=%s", spec->notify) < 0) {
    spec->notify_env = NULL;
    return mp_shim_fail_errno(err, ENOMEM, "could not read the spec");
  }
  if (has_name(spec->envp, spec->notify_env))
    return mp_shim_fail(err, "invalid", "`notify` sets NOTIFY_SOCKET, and so does an `env`");
  spec->envp[spec->envc++] = spec->notify_env;
  return 0;
}

/* Only of a service: `exec` searches PATH, and begins with the service's environment. */
static int check_service(mp_shim_spec *spec, mp_shim_error *err) {
  if (strchr(spec->exe, '/') == NULL)
    return mp_shim_fail(err, "invalid", "`%.200s` is not a path: the shim does not search PATH",
                        spec->exe);
  if (spec->unsets)
    return mp_shim_fail(err, "invalid", "`unset` is for `exec` alone");
  return spec->notify ? add_notify(spec, err) : 0;
}

static int check_whole(mp_shim_spec *spec, uint64_t seen, mp_shim_error *err) {
  if (!was_given(seen, "end"))
    return mp_shim_fail(err, "invalid", "the spec is cut short: its last record is not `end=1`");
  if (spec->argc == 0)
    return mp_shim_fail(err, "invalid", "the spec has no `arg`: there is nothing to run");
  if (spec->exe == NULL)
    spec->exe = spec->argv[0];
  if (was_given(seen, "uid") != was_given(seen, "gid"))
    return mp_shim_fail(err, "invalid", "`uid` and `gid` go together");
  if (was_given(seen, "group") && !was_given(seen, "uid"))
    return mp_shim_fail(err, "invalid", "`group` needs `uid` and `gid`");
  if (spec->backoff_max_ms < spec->backoff_initial_ms)
    return mp_shim_fail(err, "invalid", "`backoff_max_ms` is less than `backoff_initial_ms`");
  spec->has_user = was_given(seen, "uid");
  spec->has_nofile = was_given(seen, "nofile");
  spec->has_nice = was_given(seen, "nice");
  spec->has_oom_score_adj = was_given(seen, "oom_score_adj");
  return 0;
}

static size_t count_records(const char *bytes, size_t len) {
  size_t count = 0;
  for (size_t i = 0; i < len; i++)
    count += bytes[i] == '\0';
  return count;
}

static void set_defaults(mp_shim_spec *spec) {
  spec->name = spec->id = "";
  spec->cwd = "/";
  spec->restart_max = -1;
  spec->backoff_initial_ms = 1000;
  spec->backoff_max_ms = 60000;
  spec->backoff_reset_ms = 60000;
  spec->stop_signal = SIGTERM;
  spec->stop_grace_ms = 10000;
  spec->drain_ms = 2000;
  spec->log_max_size = 10 * 1024 * 1024;
  spec->log_max_files = 5;
  spec->umask = 022;
}

static int parse_records(mp_shim_spec *spec, uint64_t *given, mp_shim_error *err) {
  size_t records = count_records(spec->bytes, spec->len);
  if (spec->len == 0 || spec->bytes[spec->len - 1] != '\0')
    return mp_shim_fail(err, "invalid", "the spec is cut short: it does not end with a NUL");
  spec->argv = calloc(records + 1, sizeof *spec->argv);
  spec->envp = calloc(records + 1, sizeof *spec->envp);
  if (spec->argv == NULL || spec->envp == NULL)
    return mp_shim_fail_errno(err, ENOMEM, "could not read the spec");
  uint64_t seen = 0;
  size_t number = 0;
  for (char *at = spec->bytes; at < spec->bytes + spec->len;) {
    char *next = at + strlen(at) + 1;
    if (was_given(seen, "end"))
      return mp_shim_fail(err, "invalid", "a record stands after `end=1` in the spec");
    if (parse_record(spec, at, ++number, &seen, err) < 0)
      return -1;
    at = next;
  }
  *given = seen;
  return check_whole(spec, seen, err);
}

int mp_shim_spec_parse(mp_shim_spec *spec, char *bytes, size_t len, mp_shim_error *err) {
  uint64_t given;
  *spec = (mp_shim_spec){.bytes = bytes, .len = len};
  set_defaults(spec);
  if (parse_records(spec, &given, err) == 0 && check_service(spec, err) == 0)
    return 0;
  mp_shim_spec_free(spec);
  return -1;
}

/* The environment of the service, but what `spec` sets or takes away, and then what it sets. */
static int merge_environment(mp_shim_spec *spec, const mp_shim_spec *base, mp_shim_error *err) {
  char **merged = calloc(base->envc + spec->envc + 1, sizeof *merged);
  size_t count = 0;
  if (merged == NULL)
    return mp_shim_fail_errno(err, ENOMEM, "could not read the spec");
  for (size_t i = 0; i < base->envc; i++)
    if (base->envp[i] != base->notify_env && !has_name(spec->envp, base->envp[i]))
      merged[count++] = base->envp[i];
  for (size_t i = 0; i < spec->envc; i++)
    if (strchr(spec->envp[i], '='))
      merged[count++] = spec->envp[i];
  free(spec->envp);
  spec->envp = merged;
  spec->envc = count;
  return 0;
}

static void take_from_service(mp_shim_spec *spec, const mp_shim_spec *base, uint64_t given) {
  if (!spec->has_user) {
    spec->has_user = base->has_user;
    spec->uid = base->uid;
    spec->gid = base->gid;
    spec->group_count = base->group_count;
    memcpy(spec->groups, base->groups, sizeof spec->groups);
  }
  if (!was_given(given, "cwd"))
    spec->cwd = base->cwd;
  if (!was_given(given, "umask"))
    spec->umask = base->umask;
  if (!was_given(given, "cgroup")) {
    spec->cgroup_count = base->cgroup_count;
    memcpy(spec->cgroups, base->cgroups, sizeof spec->cgroups);
  }
  if (!spec->has_nofile) {
    spec->has_nofile = base->has_nofile;
    spec->nofile = base->nofile;
  }
  if (!spec->has_oom_score_adj) {
    spec->has_oom_score_adj = base->has_oom_score_adj;
    spec->oom_score_adj = base->oom_score_adj;
  }
  spec->no_new_privs |= base->no_new_privs;
}

int mp_shim_spec_parse_exec(mp_shim_spec *spec, const mp_shim_spec *base, char *bytes, size_t len,
                            mp_shim_error *err) {
  uint64_t given;
  *spec = (mp_shim_spec){.bytes = bytes, .len = len};
  set_defaults(spec);
  int result = parse_records(spec, &given, err);
  const char *alone = spec->notify         ? "notify"
                      : spec->bounded_file ? "bounded_file"
                      : spec->output_pipes ? "output_pipes"
                                           : NULL;
  if (result == 0 && alone)
    result = mp_shim_fail(err, "invalid", "`%s` is for the service alone", alone);
  if (result == 0 && merge_environment(spec, base, err) == 0) {
    take_from_service(spec, base, given);
    return 0;
  }
  mp_shim_spec_free(spec);
  return -1;
}

void mp_shim_spec_free(mp_shim_spec *spec) {
  if (spec->bytes)
    explicit_bzero(spec->bytes, spec->len);
  free(spec->bytes);
  free(spec->argv);
  free(spec->envp);
  free(spec->notify_env);
  *spec = (mp_shim_spec){0};
}

int mp_shim_spec_read(int fd, char **bytes, size_t *len, mp_shim_error *err) {
  size_t cap = 4096, used = 0;
  char *data = malloc(cap);
  lseek(fd, 0, SEEK_SET); /* a memfd is left at its end by who wrote it; a pipe refuses */
  while (data) {
    ssize_t got = read(fd, data + used, cap - used);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      free(data);
      return mp_shim_fail_errno(err, errno, "could not read the spec from fd %d", fd);
    }
    if (got == 0) {
      *bytes = data;
      *len = used;
      return 0;
    }
    used += (size_t)got;
    if (used > MP_SHIM_SPEC_MAX) {
      free(data);
      return mp_shim_fail(err, "limit", "the spec is longer than %d bytes", MP_SHIM_SPEC_MAX);
    }
    if (used == cap) {
      cap *= 2;
      char *larger = realloc(data, cap);
      if (larger == NULL)
        free(data);
      data = larger;
    }
  }
  return mp_shim_fail_errno(err, ENOMEM, "could not read the spec");
}
