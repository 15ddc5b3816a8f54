#include "driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { LIMIT_MS = 30000 };

const char *shim_binary;

/* ---- Set-up. */

int shim_setup(void **state) {
  shim *s = calloc(1, sizeof *s);
  const char *tmp = getenv("TMPDIR");
  snprintf(s->dir, sizeof s->dir, "%s/s.XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
  if (mkdtemp(s->dir) == NULL)
    return -1;
  snprintf(s->socket, sizeof s->socket, "%s/sock", s->dir);
  s->client = -1;
  spec_add(s, "version=1");
  spec_add(s, "name=test");
  *state = s;
  return 0;
}

static void remove_folder(const char *path) {
  DIR *dir = opendir(path);
  struct dirent *entry;
  while (dir && (entry = readdir(dir)) != NULL)
    unlinkat(dirfd(dir), entry->d_name, 0);
  if (dir)
    closedir(dir);
  rmdir(path);
}

int shim_teardown(void **state) {
  shim *s = *state;
  pid_t pid = (pid_t)json_number(strstr(state_file(s), "\"shim\"") ?: "", "pid");
  if (s->client >= 0)
    close(s->client);
  if (pid > 0 && is_alive(pid)) {
    kill(pid, SIGTERM);
    kill(pid, SIGTERM); /* without grace */
    wait_gone(pid);
  }
  while (waitpid(-1, NULL, WNOHANG) > 0)
    continue;
  remove_folder(s->dir);
  free(s);
  return 0;
}

/* ---- The spec. */

void spec_add_bytes(shim *s, const char *bytes, size_t len) {
  assert_true(s->spec_len + len + 1 < sizeof s->spec);
  memcpy(s->spec + s->spec_len, bytes, len);
  s->spec_len += len;
  s->spec[s->spec_len++] = '\0';
}

void spec_add(shim *s, const char *format, ...) {
  char record[2048];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(record, sizeof record, format, args);
  va_end(args);
  assert_in_range(len, 0, sizeof record - 1);
  spec_add_bytes(s, record, (size_t)len);
}

void spec_shell(shim *s, const char *script) {
  spec_add(s, "arg=/bin/sh");
  spec_add(s, "arg=-c");
  spec_add(s, "arg=%s", script);
}

static int spec_fd(const shim *s) {
  int fd = memfd_create("spec", 0);
  assert_int_equal(write(fd, s->spec, s->spec_len), s->spec_len);
  return fd;
}

/* ---- Starting. */

static void read_ready(shim *s, int fd) {
  size_t used = 0;
  ssize_t got;
  while ((got = read(fd, s->ready + used, sizeof s->ready - 1 - used)) > 0)
    used += (size_t)got;
  s->ready[used] = '\0';
}

static void start(shim *s, const char **extra) {
  char spec_number[12], ready_number[12];
  int ready[2];
  size_t open_len = s->spec_len; /* so that the spec can be sent again */
  spec_add(s, "end=1");
  int spec = spec_fd(s);
  s->spec_len = open_len;
  assert_int_equal(pipe(ready), 0);
  fcntl(ready[0], F_SETFD, FD_CLOEXEC);
  snprintf(spec_number, sizeof spec_number, "%d", spec);
  snprintf(ready_number, sizeof ready_number, "%d", ready[1]);
  const char *argv[32] = {shim_binary, "run",       "--dir",      s->dir,
                          "--spec-fd", spec_number, "--ready-fd", ready_number};
  size_t argc = 8;
  bool has_socket = false;
  for (; *extra; extra++) {
    has_socket |= strncmp(*extra, "--socket", 8) == 0;
    argv[argc++] = *extra;
  }
  if (!has_socket) {
    argv[argc++] = "--socket";
    argv[argc++] = s->socket;
  }
  pid_t pid = fork();
  if (pid == 0) {
    execv(shim_binary, (char **)argv);
    _exit(99);
  }
  close(ready[1]);
  close(spec);
  read_ready(s, ready[0]);
  close(ready[0]);
  int status = 0;
  /* With --foreground the process that was started is the shim itself. */
  for (size_t i = 0; i < argc; i++)
    if (strcmp(argv[i], "--foreground") == 0)
      return;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  s->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void shim_start(shim *s, ...) {
  const char *extra[16] = {NULL};
  va_list args;
  va_start(args, s);
  for (size_t i = 0; i < 15 && (extra[i] = va_arg(args, const char *)) != NULL; i++)
    continue;
  va_end(args);
  start(s, extra);
}

void shim_start_ok(shim *s) {
  shim_start(s, NULL);
  if (strncmp(s->ready, "ok ", 3) != 0)
    fail_msg("the shim did not start: %s", s->ready);
  assert_int_equal(s->exit_code, 0);
}

void shim_start_on_device(shim *s) {
  int host, guest;
  char number[12];
  struct termios raw;
  memset(&raw, 0, sizeof raw);
  cfmakeraw(&raw);
  assert_int_equal(openpty(&host, &guest, NULL, &raw, NULL), 0);
  fcntl(host, F_SETFD, FD_CLOEXEC);
  snprintf(number, sizeof number, "%d", guest);
  shim_start(s, "--stay", "--socket-fd", number, NULL);
  close(guest);
  assert_contains(s->ready, "ok ");
  s->client = host;
}

/* ---- Talking. */

int shim_dial(const shim *s) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = {.tv_sec = LIMIT_MS / 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  strcpy(address.sun_path, s->socket);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
    fail_msg("could not connect to %s: %s", s->socket, strerror(errno));
  return fd;
}

void shim_connect(shim *s) {
  shim_disconnect(s);
  s->client = shim_dial(s);
  const char *greeting = shim_read(s);
  assert_non_null(greeting);
  assert_contains(greeting, "moonport-shim 1 ");
}

void shim_disconnect(shim *s) {
  if (s->client >= 0)
    close(s->client);
  s->client = -1;
  s->held_len = 0;
}

void shim_send(shim *s, const char *text) {
  assert_int_equal(send(s->client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

const char *shim_read(shim *s) {
  char *newline;
  while ((newline = memchr(s->held, '\n', s->held_len)) == NULL) {
    ssize_t got = read(s->client, s->held + s->held_len, sizeof s->held - s->held_len);
    if (got < 0 && errno != ECONNRESET)
      fail_msg("no answer: %s", strerror(errno));
    if (got <= 0)
      return NULL;
    s->held_len += (size_t)got;
  }
  size_t len = (size_t)(newline - s->held);
  memcpy(s->line, s->held, len);
  s->line[len] = '\0';
  s->held_len -= len + 1;
  memmove(s->held, newline + 1, s->held_len);
  return s->line;
}

const char *shim_ask(shim *s, const char *request) {
  shim_send(s, request);
  shim_send(s, "\n");
  const char *answer = shim_read(s);
  if (answer == NULL)
    fail_msg("no answer to `%s`", request);
  return answer;
}

const char *shim_read_until(shim *s, const char *text) {
  const char *line;
  do {
    line = shim_read(s);
    if (line == NULL)
      fail_msg("the connection ended before `%s`", text);
  } while (strstr(line, text) == NULL);
  return line;
}

static pid_t pid_of(shim *s, const char *member) {
  if (s->client < 0)
    shim_connect(s);
  const char *object = strstr(shim_ask(s, "status"), member);
  assert_non_null(object);
  return (pid_t)json_number(object, "pid");
}

pid_t service_pid(shim *s) {
  return pid_of(s, "\"service\":{");
}

pid_t shim_pid(shim *s) {
  return pid_of(s, "\"shim\":{");
}

/* ---- Files. */

char *read_file(const shim *s, const char *name, size_t *len) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", s->dir, name);
  FILE *file = fopen(path, "re");
  char *text = calloc(1, 1);
  size_t used = 0, got = 0;
  do {
    text = realloc(text, used + 65536 + 1);
    got = file ? fread(text + used, 1, 65536, file) : 0;
    used += got;
  } while (got > 0);
  text[used] = '\0';
  if (file)
    fclose(file);
  if (len)
    *len = used;
  return text;
}

const char *state_file(const shim *s) {
  static char text[8192];
  char *found = read_file(s, "state.json", NULL);
  snprintf(text, sizeof text, "%s", found);
  free(found);
  return text;
}

static bool file_contains(const shim *s, const char *name, const char *text) {
  size_t len;
  char *found = read_file(s, name, &len);
  bool contains = memmem(found, len, text, strlen(text)) != NULL;
  free(found);
  return contains;
}

void wait_file(const shim *s, const char *name, const char *text) {
  int watch = inotify_init1(IN_CLOEXEC);
  assert_true(inotify_add_watch(watch, s->dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO) >= 0);
  while (!file_contains(s, name, text)) {
    char events[4096];
    struct pollfd ready = {.fd = watch, .events = POLLIN};
    if (poll(&ready, 1, LIMIT_MS) != 1) {
      char *found = read_file(s, name, NULL);
      fail_msg("`%s` did not come into %s: %.2000s", text, name, found);
    }
    assert_true(read(watch, events, sizeof events) > 0);
  }
  close(watch);
}

const char *wait_state(const shim *s, const char *text) {
  wait_file(s, "state.json", text);
  return state_file(s);
}

/* Appends the content of a file's records of `stream` to *out. */
static void collect(const char *text, size_t len, const char *stream, char **out, size_t *used) {
  const char *at = text, *end = text + len;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    assert_non_null(newline); /* only whole records */
    assert_true(newline - at >= 40);
    assert_int_equal(at[10], 'T');
    assert_int_equal(at[29], 'Z');
    char tag = at[38];
    assert_true(tag == 'F' || tag == 'P');
    if (strncmp(at + 31, stream, 6) == 0) {
      size_t content = (size_t)(newline - at) - 40;
      assert_true(content <= 16384);
      *out = realloc(*out, *used + content + 2);
      memcpy(*out + *used, at + 40, content);
      *used += content;
      if (tag == 'F')
        (*out)[(*used)++] = '\n';
      (*out)[*used] = '\0';
    }
    at = newline + 1;
  }
}

char *service_output(const shim *s, const char *stream, size_t *len) {
  char *out = calloc(1, 1);
  *len = 0;
  int oldest = 0;
  for (char name[32], path[256];; oldest++) {
    snprintf(name, sizeof name, "log.%d", oldest + 1);
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    if (access(path, F_OK) < 0)
      break;
  }
  for (int number = oldest; number >= 0; number--) {
    char name[32];
    size_t file_len;
    snprintf(name, sizeof name, number ? "log.%d" : "log", number);
    char *text = read_file(s, name, &file_len);
    collect(text, file_len, stream, &out, len);
    free(text);
  }
  return out;
}

/* ---- Processes. */

void wait_gone(pid_t pid) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0)
    return;
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  if (poll(&ready, 1, LIMIT_MS) != 1)
    fail_msg("process %d does not end", (int)pid);
  close(fd);
}

bool is_alive(pid_t pid) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0)
    return false;
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  bool ended = poll(&ready, 1, 0) == 1;
  close(fd);
  return !ended;
}

long long json_number(const char *json, const char *key) {
  char member[64];
  snprintf(member, sizeof member, "\"%s\":", key);
  const char *at = strstr(json, member);
  return at ? strtoll(at + strlen(member), NULL, 10) : -1;
}

/* A sanitized shim has no stderr that anybody sees: what ASan and LSan find goes to files here.
 * (UBSan ends the process, which a test notices.) */
static char findings[64];

static void collect_findings(void) {
  char options[160];
  const char *tmp = getenv("TMPDIR");
  snprintf(findings, sizeof findings, "%s/f.XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
  if (mkdtemp(findings) == NULL)
    abort();
  /* Left alone, ASan also forbids core dumps, and a test looks at that limit. */
  snprintf(options, sizeof options, "disable_coredump=0:log_path=%s/asan", findings);
  setenv("ASAN_OPTIONS", options, 1);
}

static int show_findings(void) {
  DIR *dir = opendir(findings);
  int count = 0;
  for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
    shim s;
    if (entry->d_name[0] == '.')
      continue;
    memcpy(s.dir, findings, sizeof s.dir);
    char *text = read_file(&s, entry->d_name, NULL);
    fprintf(stderr, "%s\n", text);
    free(text);
    count++;
  }
  if (dir)
    closedir(dir);
  remove_folder(findings);
  return count;
}

int driver_main(int argc, char **argv, int (*run)(void)) {
  if (argc != 2 || access(argv[1], X_OK) < 0) {
    fprintf(stderr, "usage: %s MOONPORT-SHIM\n", argv[0]);
    return 2;
  }
  shim_binary = argv[1];
  collect_findings();
  /* Shims become ours when their starters end, and are waited for: nothing is left behind. */
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int failed = run();
  while (waitpid(-1, NULL, WNOHANG) > 0)
    continue;
  return failed + show_findings();
}

void sleeper(shim *s) {
  spec_add(s, "arg=/bin/sleep");
  spec_add(s, "arg=1000");
}
