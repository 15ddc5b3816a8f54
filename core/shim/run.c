/* `moonport-shim run`: options, the fds it keeps, going into the background, telling how it went.
 */
#include "run.h"

#include "cgroup.h"
#include "proc.h"
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

typedef struct {
  const char *dir;
  const char *socket;
  const char *cgroups[MP_SHIM_CGROUPS_MAX];
  size_t cgroup_count;
  const char *born_in; /* of these; NULL when none was joined yet */
  int socket_fd;       /* these three: -1 when not given */
  int spec_fd;
  int ready_fd;
  bool foreground;
  bool stay;
  bool agent;
} run_options;

/* Where to tell how the first start went: both get the same line. */
typedef struct {
  int ready_fd; /* the caller's, -1 without */
  int starter;  /* the process that was started and waits for the supervisor, -1 without */
} audience;

enum { ANSWER_MAX = sizeof((mp_shim_error *)0)->message + 64 };

static int parse_fd(const char *option, const char *text, int *fd, mp_shim_error *err) {
  char *end;
  long number = strtol(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || number > 1048576 ||
      fcntl((int)number, F_GETFD) < 0)
    return mp_shim_fail(err, "usage", "--%s: `%.32s` is no open file descriptor", option, text);
  *fd = (int)number;
  return 0;
}

static int parse_path(const char *option, const char *text, const char **path, mp_shim_error *err) {
  *path = text;
  if (*text != '/')
    return mp_shim_fail(err, "usage", "--%s: `%.200s` is no absolute path", option, text);
  return 0;
}

static int add_cgroup(run_options *options, const char *path, mp_shim_error *err) {
  if (options->cgroup_count == MP_SHIM_CGROUPS_MAX)
    return mp_shim_fail(err, "usage", "more than %d --cgroup", MP_SHIM_CGROUPS_MAX);
  return parse_path("cgroup", path, &options->cgroups[options->cgroup_count++], err);
}

static int parse_option(run_options *options, int option, mp_shim_error *err) {
  switch (option) {
  case 'd':
    return parse_path("dir", optarg, &options->dir, err);
  case 's':
    return parse_path("socket", optarg, &options->socket, err);
  case 'S':
    return parse_fd("socket-fd", optarg, &options->socket_fd, err);
  case 'f':
    return parse_fd("spec-fd", optarg, &options->spec_fd, err);
  case 'r':
    return parse_fd("ready-fd", optarg, &options->ready_fd, err);
  case 'c':
    return add_cgroup(options, optarg, err);
  case 'F':
    options->foreground = true;
    return 0;
  case 't':
    options->stay = true;
    return 0;
  default:
    return mp_shim_fail(err, "usage", "bad options, see moonport-shim --help");
  }
}

static int parse(run_options *options, int argc, char **argv, mp_shim_error *err) {
  static const struct option known[] = {
      {"dir", required_argument, NULL, 'd'},
      {"socket", required_argument, NULL, 's'},
      {"socket-fd", required_argument, NULL, 'S'},
      {"spec-fd", required_argument, NULL, 'f'},
      {"ready-fd", required_argument, NULL, 'r'},
      {"cgroup", required_argument, NULL, 'c'},
      {"foreground", no_argument, NULL, 'F'},
      {"stay", no_argument, NULL, 't'},
      {0},
  };
  int option;
  while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
    if (parse_option(options, option, err) < 0)
      return -1;
  if (optind < argc)
    return mp_shim_fail(err, "usage", "what is `%.64s`? see moonport-shim --help", argv[optind]);
  if (options->dir == NULL || options->spec_fd < 0)
    return mp_shim_fail(err, "usage", "--dir and --spec-fd are needed");
  if ((options->socket == NULL) == (options->socket_fd < 0))
    return mp_shim_fail(err, "usage", "one of --socket and --socket-fd is needed");
  return 0;
}

/* ---- File descriptors. */

static int compare_fds(const void *a, const void *b) {
  return *(const int *)a - *(const int *)b;
}

/* Whatever the caller leaked is not kept open for the life of a service. */
static void close_inherited(const run_options *options) {
  int keep[] = {options->spec_fd, options->ready_fd, options->socket_fd};
  qsort(keep, 3, sizeof *keep, compare_fds);
  mp_shim_close_from(3, keep, 3);
  for (size_t i = 0; i < 3; i++)
    if (keep[i] >= 0)
      fcntl(keep[i], F_SETFD, FD_CLOEXEC);
}

/* The supervisor replaces its stdio, and a caller may have given one of these for what it needs. */
static void lift_above_stdio(int *fd) {
  if (*fd >= 0 && *fd < 3)
    *fd = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
}

/* What is opened later must not become somebody's stdin, stdout or stderr. */
static void open_missing_stdio(void) {
  int fd;
  do
    fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd < 3);
  if (fd >= 3)
    close(fd);
}

static void close_stdio(void) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; fd++)
    dup2(null, fd);
  if (null > 2)
    close(null);
}

/* ---- Telling. */

static void tell_line(audience *to, const char *line) {
  int *fds[] = {&to->ready_fd, &to->starter};
  for (size_t i = 0; i < 2; i++) {
    if (*fds[i] < 0)
      continue;
    ssize_t ignored = write(*fds[i], line, strlen(line));
    (void)ignored; /* who is gone needs no answer */
    close(*fds[i]);
    *fds[i] = -1;
  }
}

static void tell(void *context, pid_t pid, const mp_shim_error *err) {
  char line[ANSWER_MAX];
  if (err)
    snprintf(line, sizeof line, "error %s %s\n", err->code, err->message);
  else
    snprintf(line, sizeof line, "ok %d\n", (int)pid);
  tell_line(context, line);
}

static int refuse(audience *to, const mp_shim_error *err) {
  if (to->ready_fd < 0)
    fprintf(stderr, "moonport-shim: %s\n", err->message);
  tell(to, 0, err);
  return strcmp(err->code, "usage") == 0 ? 2 : 1;
}

/* ---- The supervisor's process. */

static void on_alarm(int signal) {
  (void)signal;
}

/* One shim per directory. One that has just answered its last request is still on its way out:
 * give it a second. */
static int lock_directory(int dir, const char *name, mp_shim_error *err) {
  int fd = openat(dir, "shim.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return mp_shim_fail_errno(err, errno, "could not open `%.200s/shim.lock`", name);
  struct sigaction interrupt = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &interrupt, NULL);
  /* Again and again, since the first alarm may come before the wait has begun. */
  const struct itimerval patience = {.it_value = {.tv_sec = 1}, .it_interval = {.tv_usec = 100000}};
  setitimer(ITIMER_REAL, &patience, NULL);
  int locked = flock(fd, LOCK_EX);
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  if (locked == 0)
    return fd;
  close(fd);
  return mp_shim_fail(err, "EBUSY", "another moonport-shim supervises in `%.200s`", name);
}

static int join_cgroups(const run_options *options, mp_shim_error *err) {
  size_t failed;
  if (mp_shim_cgroup_join_others(options->cgroups, options->cgroup_count, options->born_in,
                                 &failed) == 0)
    return 0;
  return mp_shim_fail_errno(err, errno, "could not move the shim into the cgroup `%.200s`",
                            options->cgroups[failed]);
}

static int prepare(const run_options *options, mp_shim_supervise_options *supervise,
                   mp_shim_error *err) {
  umask(077);
  if (join_cgroups(options, err) < 0)
    return -1;
  supervise->dir = open(options->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (supervise->dir < 0)
    return mp_shim_fail_errno(err, errno, "could not open the directory `%.200s`", options->dir);
  supervise->lock_fd = lock_directory(supervise->dir, options->dir, err);
  if (supervise->lock_fd < 0)
    return -1;
  if (chdir("/") < 0)
    return mp_shim_fail_errno(err, errno, "could not enter `/`");
  return 0;
}

static int supervise(const run_options *options, mp_shim_spec *spec, audience *to) {
  mp_shim_error err;
  mp_shim_supervise_options supervise = {
      .spec = spec,
      .socket_path = options->socket,
      .socket_fd = options->socket_fd,
      .stay = options->stay,
      .agent = options->agent,
      .on_ready = tell,
      .context = to,
      .dir = -1,
      .lock_fd = -1,
  };
  int result = prepare(options, &supervise, &err);
  if (result < 0) {
    tell(to, 0, &err);
  } else {
    if (!options->foreground)
      close_stdio();
    result = mp_shim_supervise(&supervise);
  }
  if (supervise.dir >= 0)
    close(supervise.dir);
  return result < 0 ? 1 : 0;
}

/* ---- The process that was started: it stays until the supervisor has told. */

static int wait_for_supervisor(int from, bool told_elsewhere) {
  char line[ANSWER_MAX];
  size_t used = 0;
  ssize_t got;
  while (used < sizeof line - 1 && ((got = read(from, line + used, sizeof line - 1 - used)) > 0 ||
                                    (got < 0 && errno == EINTR)))
    used += got > 0 ? (size_t)got : 0;
  line[used] = '\0';
  if (strncmp(line, "ok ", 3) == 0)
    return 0;
  if (!told_elsewhere)
    fprintf(stderr, "moonport-shim run: %s",
            used > 0 ? line : "the supervisor was killed before the service ran\n");
  return 1;
}

/* Who was forked into a cgroup forks once more, for the libc to know who it is. */
static pid_t fork_supervisor(run_options *options) {
  pid_t pid = mp_shim_cgroup_fork(options->cgroups, options->cgroup_count, &options->born_in);
  if (pid != 0 || options->born_in == NULL)
    return pid;
  pid = fork();
  if (pid != 0)
    _exit(pid < 0);
  return 0;
}

static int go_into_background(run_options *options, mp_shim_spec *spec, audience *to) {
  mp_shim_error err;
  int ends[2];
  pid_t pid = -1;
  if (pipe2(ends, O_CLOEXEC) == 0)
    pid = fork_supervisor(options);
  if (pid < 0) {
    mp_shim_fail_errno(&err, errno, "could not go into the background");
    return refuse(to, &err);
  }
  if (pid == 0) {
    close(ends[0]);
    to->starter = ends[1];
    setsid();
    return supervise(options, spec, to);
  }
  close(ends[1]);
  if (to->ready_fd >= 0)
    close(to->ready_fd); /* so that the caller sees its end if the supervisor is killed */
  int result = wait_for_supervisor(ends[0], options->ready_fd >= 0);
  close(ends[0]);
  return result;
}

static int read_spec(int fd, mp_shim_spec *spec, mp_shim_error *err) {
  char *bytes;
  size_t len;
  if (mp_shim_spec_read(fd, &bytes, &len, err) < 0)
    return -1;
  close(fd);
  return mp_shim_spec_parse(spec, bytes, len, err);
}

int mp_shim_command_run(int argc, char **argv) {
  run_options options = {.socket_fd = -1, .spec_fd = -1, .ready_fd = -1};
  audience to = {.ready_fd = -1, .starter = -1};
  mp_shim_spec spec;
  mp_shim_error err;
  open_missing_stdio();
  mp_shim_reset_signals();
  signal(SIGPIPE, SIG_IGN);
  int parsed = parse(&options, argc, argv, &err);
  lift_above_stdio(&options.spec_fd);
  lift_above_stdio(&options.ready_fd);
  lift_above_stdio(&options.socket_fd);
  to.ready_fd = options.ready_fd;
  if (parsed < 0)
    return refuse(&to, &err);
  close_inherited(&options);
  if (read_spec(options.spec_fd, &spec, &err) < 0)
    return refuse(&to, &err);
  if (options.foreground && to.ready_fd < 0)
    to.starter = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  int result = options.foreground ? supervise(&options, &spec, &to)
                                  : go_into_background(&options, &spec, &to);
  mp_shim_spec_free(&spec);
  return result;
}

/* ---- The agent in a guest. */

static int make_directories(const char *path, mp_shim_error *err) {
  char made[4096];
  for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
    const char *end = strchr(slash + 1, '/');
    snprintf(made, sizeof made, "%.*s", end ? (int)(end - path) : (int)strlen(path), path);
    if (mkdir(made, end ? 0755 : 0700) < 0 && errno != EEXIST)
      return mp_shim_fail_errno(err, errno, "could not make the directory `%.200s`", made);
  }
  return 0;
}

static int parse_agent(run_options *options, const char **spec, int argc, char **argv,
                       mp_shim_error *err) {
  static const struct option known[] = {
      {"dir", required_argument, NULL, 'd'}, {"spec", required_argument, NULL, 's'}, {0}};
  int option, result = 0;
  while (result == 0 && (option = getopt_long(argc, argv, "", known, NULL)) != -1)
    result = option == 'd'   ? parse_path("dir", optarg, &options->dir, err)
             : option == 's' ? parse_path("spec", optarg, spec, err)
                             : mp_shim_fail(err, "usage", "bad options, see moonport-shim --help");
  if (result == 0 && (optind < argc || options->dir == NULL || *spec == NULL))
    result = mp_shim_fail(err, "usage", "--dir and --spec are needed, and nothing else");
  return result;
}

static int read_spec_file(const char *path, mp_shim_spec *spec, mp_shim_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return mp_shim_fail_errno(err, errno, "could not open the spec `%.200s`", path);
  return read_spec(fd, spec, err);
}

/* Its service is not to be spared with it when memory is short. */
static void spare_agent_alone(mp_shim_spec *spec) {
  spec->oom_score_adj = spec->has_oom_score_adj ? spec->oom_score_adj : 0;
  spec->has_oom_score_adj = true;
}

int mp_shim_command_agent(int argc, char **argv) {
  run_options options = {.socket_fd = -1,
                         .spec_fd = -1,
                         .ready_fd = -1,
                         .foreground = true,
                         .stay = true,
                         .agent = true};
  audience to = {.ready_fd = -1, .starter = -1};
  const char *path = NULL;
  mp_shim_spec spec;
  mp_shim_error err;
  open_missing_stdio();
  mp_shim_reset_signals();
  signal(SIGPIPE, SIG_IGN);
  if (parse_agent(&options, &path, argc, argv, &err) < 0)
    return refuse(&to, &err);
  close_inherited(&options);
  if (make_directories(options.dir, &err) < 0 || read_spec_file(path, &spec, &err) < 0)
    return refuse(&to, &err);
  spare_agent_alone(&spec);
  to.starter = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  int result = supervise(&options, &spec, &to);
  mp_shim_spec_free(&spec);
  return result;
}
