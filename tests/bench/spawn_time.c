/* spawn_time ROUNDS COMMAND...: how long each command takes from posix_spawn to its exit.
 *
 * A command is one argument, split at spaces. The commands take turns, so that whatever else the
 * machine does hits all of them alike. Prints the median of each in microseconds, one a line. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

enum { MAX_COMMANDS = 16, MAX_WORDS = 32 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double run(char **argv, posix_spawn_file_actions_t *actions) {
  double start = now();
  pid_t pid;
  int status, error = posix_spawn(&pid, argv[0], actions, NULL, argv, environ);
  if (error == 0 && waitpid(pid, &status, 0) < 0)
    error = errno;
  if (error != 0 || status != 0) {
    fprintf(stderr, "spawn_time: %s: %s\n", argv[0], error ? strerror(error) : "it failed");
    exit(1);
  }
  return now() - start;
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 0, count = argc - 2;
  if (rounds < 1 || count < 1 || count > MAX_COMMANDS)
    return 2;
  static char *words[MAX_COMMANDS][MAX_WORDS + 1];
  for (int c = 0; c < count; c++) {
    int n = 0;
    for (char *word = strtok(argv[c + 2], " "); word && n < MAX_WORDS; word = strtok(NULL, " "))
      words[c][n++] = word;
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);

  double *times[MAX_COMMANDS];
  for (int c = 0; c < count; c++) {
    times[c] = calloc((size_t)rounds, sizeof(double));
    run(words[c], &actions); /* warms the page cache */
  }
  for (int r = 0; r < rounds; r++)
    for (int c = 0; c < count; c++)
      times[c][r] = run(words[c], &actions);
  for (int c = 0; c < count; c++) {
    qsort(times[c], (size_t)rounds, sizeof(double), compare);
    printf("%.0f\n", times[c][rounds / 2]);
    free(times[c]);
  }
  posix_spawn_file_actions_destroy(&actions);
  return 0;
}
