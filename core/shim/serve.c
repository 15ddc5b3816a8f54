#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Under another name first, so that what is there at `path` listens. */
static int listen_at(int fd, const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char copy[sizeof address.sun_path];
  if (strlen(path) >= sizeof copy) {
    errno = ENAMETOOLONG;
    return -1;
  }
  const char *dir = dirname(strcpy(copy, path));
  int len = snprintf(address.sun_path, sizeof address.sun_path, "%s/.%d", dir, (int)getpid());
  if (len >= (int)sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  mode_t before = umask(0111);
  int failed = bind(fd, (struct sockaddr *)&address, sizeof address);
  umask(before);
  if (failed)
    return -1;
  if (listen(fd, SOMAXCONN) < 0)
    failed = -1;
  else
    failed = link(address.sun_path, path);
  int why = errno;
  unlink(address.sun_path);
  errno = why;
  return failed;
}

int mp_shim_serve_listen(const char *path) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || listen_at(fd, path) == 0)
    return fd;
  int why = errno;
  close(fd);
  errno = why;
  return -1;
}

/* True when somebody has connected; false when nobody has for so long. -1 with errno. */
static int await_connection(int fd, int64_t idle_ms) {
  struct pollfd listening = {.fd = fd, .events = POLLIN};
  int timeout = idle_ms < 0 ? -1 : idle_ms > INT_MAX ? INT_MAX : (int)idle_ms;
  int count;
  while ((count = poll(&listening, 1, timeout)) < 0 && errno == EINTR)
    continue;
  return count;
}

static void become_program(int fd, pid_t parent, char **argv) {
  bool is_there = fd == MP_SHIM_SERVE_FD;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
      (is_there ? fcntl(fd, F_SETFD, 0) : dup2(fd, MP_SHIM_SERVE_FD)) < 0)
    _exit(125);
  execvp(argv[0], argv);
  int why = errno;
  fprintf(stderr, "moonport-shim exec: could not execute `%s`: %s\n", argv[0], strerror(why));
  _exit(why == ENOENT ? 127 : 126);
}

/* Its exit code, or 128 and its signal. -1 with errno. */
static int run_once(int fd, char **argv) {
  pid_t self = getpid(), pid = fork();
  int status;
  if (pid == 0)
    become_program(fd, self, argv);
  if (pid < 0)
    return -1;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR)
      return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int mp_shim_serve(int fd, int64_t idle_ms, char **argv) {
  int found;
  while ((found = await_connection(fd, idle_ms)) > 0) {
    int code = run_once(fd, argv);
    if (code < 0)
      return -1;
    if (code > 0 && await_connection(fd, 0) > 0)
      return code;
  }
  return found;
}
