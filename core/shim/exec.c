/* `moonport-shim exec`: what uv_spawn cannot do between fork and exec. */
#include "run.h"

#include "cgroup.h"
#include "serve.h"
#include "service.h"
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SETUP_FAILED = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127 };
enum { STALE_MAX = 16, READONLY_MAX = 16 };

typedef struct {
  const char *cgroups[MP_SHIM_CGROUPS_MAX];
  size_t cgroup_count;
  const char *netns;
  const char *chdir;
  bool setsid;
  bool ctty;
  bool has_user;
  uid_t uid;
  gid_t gid;
  gid_t groups[MP_SHIM_GROUPS_MAX];
  size_t group_count;
  int pdeathsig;
  long parent;                  /* 0: not given */
  const char *stale[STALE_MAX]; /* files to remove or to empty */
  bool emptied[STALE_MAX];
  size_t stale_count;
  const char *readonly[READONLY_MAX];
  size_t readonly_count;
  const char *serve; /* a socket to listen on */
  int64_t idle_ms;   /* -1: not given */
} exec_options;

static int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int complain(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("moonport-shim exec: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  return SETUP_FAILED;
}

/* Reads a number up to one of the characters in `ends` (or the end), and steps past that. */
static bool take_id(const char **text, const char *ends, unsigned *id) {
  char *end;
  errno = 0;
  unsigned long number = strtoul(*text, &end, 10);
  if (**text < '0' || **text > '9' || errno != 0 || number >= UINT32_MAX ||
      (*end != '\0' && strchr(ends, *end) == NULL))
    return false;
  *id = (unsigned)number;
  *text = *end ? end + 1 : end;
  return true;
}

static int parse_user(exec_options *options, const char *text) {
  unsigned uid, gid;
  const char *at = text;
  if (!take_id(&at, ":", &uid) || *at == '\0' || !take_id(&at, "", &gid))
    return complain("--user takes UID:GID in numbers, not `%s`", text);
  options->has_user = true;
  options->uid = uid;
  options->gid = gid;
  return 0;
}

static int parse_groups(exec_options *options, const char *text) {
  const char *at = text;
  while (*at) {
    unsigned group;
    if (options->group_count == MP_SHIM_GROUPS_MAX || !take_id(&at, ",", &group))
      return complain("--groups takes at most %d numbers with commas, not `%s`", MP_SHIM_GROUPS_MAX,
                      text);
    options->groups[options->group_count++] = group;
  }
  return 0;
}

static int add_stale(exec_options *options, const char *path, bool emptied) {
  if (options->stale_count == STALE_MAX)
    return complain("more than %d files to remove or to empty", STALE_MAX);
  options->stale[options->stale_count] = path;
  options->emptied[options->stale_count++] = emptied;
  return 0;
}

static int parse_option(exec_options *options, int option) {
  switch (option) {
  case 'r':
    return add_stale(options, optarg, false);
  case 'e':
    return add_stale(options, optarg, true);
  case 'o':
    if (options->readonly_count == READONLY_MAX)
      return complain("more than %d directories to make read-only", READONLY_MAX);
    options->readonly[options->readonly_count++] = optarg;
    return 0;
  case 'c':
    if (options->cgroup_count == MP_SHIM_CGROUPS_MAX)
      return complain("more than %d cgroups", MP_SHIM_CGROUPS_MAX);
    options->cgroups[options->cgroup_count++] = optarg;
    return 0;
  case 'n':
    options->netns = optarg;
    return 0;
  case 's':
    options->setsid = true;
    return 0;
  case 't':
    options->ctty = options->setsid = true;
    return 0;
  case 'u':
    return parse_user(options, optarg);
  case 'g':
    return parse_groups(options, optarg);
  case 'd':
    options->chdir = optarg;
    return 0;
  case 'p':
    options->pdeathsig = mp_shim_signal_number(optarg);
    return options->pdeathsig ? 0 : complain("`%s` is no signal", optarg);
  case 'l':
    options->serve = optarg;
    return 0;
  case 'i':
    options->idle_ms = strtoll(optarg, NULL, 10) * 1000;
    return options->idle_ms > 0 ? 0 : complain("`%s` is no number of seconds", optarg);
  case 'P':
    options->parent = strtol(optarg, NULL, 10);
    return options->parent > 0 ? 0 : complain("`%s` is no process id", optarg);
  default:
    return SETUP_FAILED; /* getopt told */
  }
}

static int parse(exec_options *options, int argc, char **argv) {
  static const struct option known[] = {
      {"cgroup", required_argument, NULL, 'c'},
      {"netns", required_argument, NULL, 'n'},
      {"setsid", no_argument, NULL, 's'},
      {"ctty", no_argument, NULL, 't'},
      {"user", required_argument, NULL, 'u'},
      {"groups", required_argument, NULL, 'g'},
      {"chdir", required_argument, NULL, 'd'},
      {"pdeathsig", required_argument, NULL, 'p'},
      {"parent", required_argument, NULL, 'P'},
      {"remove", required_argument, NULL, 'r'},
      {"empty", required_argument, NULL, 'e'},
      {"readonly", required_argument, NULL, 'o'},
      {"serve", required_argument, NULL, 'l'},
      {"idle", required_argument, NULL, 'i'},
      {0},
  };
  int option;
  while ((option = getopt_long(argc, argv, "+", known, NULL)) != -1) {
    int failed = parse_option(options, option);
    if (failed)
      return failed;
  }
  if (optind == argc)
    return complain("no command to execute");
  if (options->group_count > 0 && !options->has_user)
    return complain("--groups needs --user");
  if (options->idle_ms >= 0 && !options->serve)
    return complain("--idle needs --serve");
  return 0;
}

static int enter_netns(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
    return complain("could not enter the network namespace `%s`: %s", path, strerror(errno));
  close(fd);
  return 0;
}

static int make_readonly(const char *path) {
  const unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV;
  if (mount(path, path, NULL, MS_BIND, NULL) < 0 || mount(NULL, path, NULL, flags, NULL) < 0)
    return complain("could not make `%s` read-only: %s", path, strerror(errno));
  return 0;
}

/* In a mount namespace of its own: for the program and what it starts, and for nobody else. */
static int make_all_readonly(const exec_options *options) {
  if (options->readonly_count == 0)
    return 0;
  if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
    return complain("could not make a mount namespace: %s", strerror(errno));
  for (size_t i = 0; i < options->readonly_count; i++)
    if (make_readonly(options->readonly[i]))
      return SETUP_FAILED;
  return 0;
}

/* After the change of user, which clears the setting. The parent may have ended before it. */
static int set_death_signal(const exec_options *options) {
  if (prctl(PR_SET_PDEATHSIG, options->pdeathsig) < 0)
    return complain("could not set the death signal: %s", strerror(errno));
  if (options->parent && getppid() != options->parent)
    return complain("the parent %ld has ended", options->parent);
  return 0;
}

static int set_session(const exec_options *options) {
  /* A process group leader cannot make a session; uv_spawn's detached child has made one. */
  if (options->setsid && setsid() < 0 && getsid(0) != getpid())
    return complain("could not make a session: %s", strerror(errno));
  if (options->ctty && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
    return complain("could not make stdin the controlling terminal: %s", strerror(errno));
  return 0;
}

/* What the program left when it ran before: it is the supervisor who knows that it is over. */
static int clear_stale(const exec_options *options) {
  for (size_t i = 0; i < options->stale_count; i++) {
    const char *path = options->stale[i];
    if (!options->emptied[i]) {
      if (unlink(path) < 0 && errno != ENOENT)
        return complain("could not remove `%s`: %s", path, strerror(errno));
      continue;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
      return complain("could not empty `%s`: %s", path, strerror(errno));
    close(fd);
  }
  return 0;
}

static int set_up(const exec_options *options) {
  for (size_t i = 0; i < options->cgroup_count; i++)
    if (mp_shim_cgroup_join(options->cgroups[i]) < 0)
      return complain("could not join the cgroup `%s`: %s", options->cgroups[i], strerror(errno));
  if (options->netns && enter_netns(options->netns))
    return SETUP_FAILED;
  if (set_session(options) || make_all_readonly(options))
    return SETUP_FAILED;
  const char *failed = NULL;
  if (options->has_user)
    failed = mp_shim_set_user(options->uid, options->gid, options->groups, options->group_count);
  if (failed)
    return complain("could not become user %u:%u: %s: %s", (unsigned)options->uid,
                    (unsigned)options->gid, failed, strerror(errno));
  if (options->pdeathsig && set_death_signal(options))
    return SETUP_FAILED;
  if (options->chdir && chdir(options->chdir) < 0)
    return complain("could not enter the directory `%s`: %s", options->chdir, strerror(errno));
  return clear_stale(options);
}

static int serve(const exec_options *options, char **argv) {
  int fd = mp_shim_serve_listen(options->serve);
  if (fd < 0)
    return complain("could not listen on `%s`: %s", options->serve, strerror(errno));
  int code = mp_shim_serve(fd, options->idle_ms, argv);
  return code >= 0 ? code : complain("could not serve `%s`: %s", options->serve, strerror(errno));
}

int mp_shim_command_exec(int argc, char **argv) {
  exec_options options = {.idle_ms = -1};
  int failed = parse(&options, argc, argv);
  if (!failed)
    failed = set_up(&options);
  if (failed)
    return failed;
  if (options.serve)
    return serve(&options, argv + optind);
  execvp(argv[optind], argv + optind);
  int why = errno;
  complain("could not execute `%s`: %s", argv[optind], strerror(why));
  return why == ENOENT ? NOT_FOUND : CANNOT_EXECUTE;
}
