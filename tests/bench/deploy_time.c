/* What starting and ending services costs at the least: posix_spawn of N `sleep`s, and waiting
 * until each has executed its program. Prints milliseconds a process. */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The pipe's other end closes on exec; so its end of file tells that the program runs. */
static pid_t start(char *const *argv) {
  int ends[2];
  pid_t pid;
  char byte;
  if (pipe2(ends, O_CLOEXEC) < 0)
    err(1, "pipe2");
  errno = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
  if (errno)
    err(1, "%s", argv[0]);
  close(ends[1]);
  if (read(ends[0], &byte, 1) != 0)
    errx(1, "%s did not start", argv[0]);
  close(ends[0]);
  return pid;
}

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 100;
  char *const sleeper[] = {"/bin/sleep", "1000", NULL};
  pid_t *pids = calloc((size_t)count, sizeof *pids);
  double began = now_ms();
  for (int i = 0; i < count; i++)
    pids[i] = start(sleeper);
  printf("%.3f\n", (now_ms() - began) / count);
  for (int i = 0; i < count; i++) {
    kill(pids[i], SIGKILL);
    waitpid(pids[i], NULL, 0);
  }
  free(pids);
  return 0;
}
