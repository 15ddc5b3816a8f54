/* What touches the host: users, limits, cgroups, memory; and `moonport-shim exec`. */
#include "driver.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char v1_memory[] = "/sys/fs/cgroup/memory";

static void need_root(void) {
  if (geteuid() != 0) {
    print_message("needs root\n");
    skip();
  }
}

/* ---- Cgroups of a test's own. */

static void make_cgroup(const char *root, char path[128]) {
  snprintf(path, 128, "%s/mp-shim-test-%d", root, (int)getpid());
  if (mkdir(path, 0755) < 0) {
    print_message("cannot make a cgroup in %s\n", root);
    skip();
  }
}

static void remove_cgroup(const char *path) {
  if (rmdir(path) < 0)
    fail_msg("%s is not empty", path);
}

static const char *v2_root(void) {
  if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0)
    return "/sys/fs/cgroup";
  if (access("/sys/fs/cgroup/unified/cgroup.controllers", F_OK) == 0)
    return "/sys/fs/cgroup/unified";
  print_message("no cgroup v2 here\n");
  skip();
  return NULL;
}

static void write_cgroup(const char *path, const char *file, const char *text) {
  char name[256];
  snprintf(name, sizeof name, "%s/%s", path, file);
  int fd = open(name, O_WRONLY | O_CLOEXEC);
  assert_true(fd >= 0 && write(fd, text, strlen(text)) > 0);
  close(fd);
}

static void an_out_of_memory_kill_is_recorded_as_such(void **state) {
  shim *s = *state;
  char path[128], limit[200];
  snprintf(limit, sizeof limit, "%s/memory.limit_in_bytes", v1_memory);
  if (access(limit, W_OK) < 0) {
    print_message("no memory controller on cgroup v1 here\n");
    skip();
  }
  make_cgroup(v1_memory, path);
  write_cgroup(path, "memory.limit_in_bytes", "16777216");
  spec_shell(s, "x=$(head -c 64000000 /dev/zero | tr '\\0' a); echo survived");
  spec_add(s, "env=PATH=/bin:/usr/bin");
  spec_add(s, "cgroup=%s", path);
  shim_start_ok(s);
  const char *record = wait_state(s, "\"failed\"");
  assert_contains(record, "\"signal\":\"KILL\",\"oom\":true");
  assert_in_range(json_number(record, "peak_memory"), 8 << 20, 17 << 20);
  remove_cgroup(path);
}

static void a_kill_within_the_memory_limit_is_no_oom(void **state) {
  shim *s = *state;
  char path[128], limit[200];
  snprintf(limit, sizeof limit, "%s/memory.limit_in_bytes", v1_memory);
  if (access(limit, W_OK) < 0)
    skip();
  make_cgroup(v1_memory, path);
  spec_shell(s, "kill -KILL $$");
  spec_add(s, "cgroup=%s", path);
  shim_start_ok(s);
  assert_contains(wait_state(s, "\"failed\""), "\"signal\":\"KILL\",\"oom\":false");
  remove_cgroup(path);
}

static void the_shim_stays_outside_the_cgroup_of_its_service(void **state) {
  shim *s = *state;
  char path[128], own[64], line[512] = "";
  make_cgroup(v2_root(), path);
  spec_add(s, "arg=/bin/sleep");
  spec_add(s, "arg=1000");
  spec_add(s, "cgroup=%s", path);
  shim_start_ok(s);
  pid_t pids[2] = {service_pid(s), shim_pid(s)};
  for (int i = 0; i < 2; i++) {
    snprintf(own, sizeof own, "/proc/%d/cgroup", (int)pids[i]);
    int fd = open(own, O_RDONLY | O_CLOEXEC);
    memset(line, 0, sizeof line);
    assert_true(read(fd, line, sizeof line - 1) > 0);
    close(fd);
    assert_int_equal(strstr(line, "mp-shim-test-") != NULL, i == 0);
  }
  shim_ask(s, "stop");
  remove_cgroup(path);
}

/* Linux 6.14 to at least 6.18 would kill it at birth. */
static void a_service_starts_in_a_cgroup_that_was_killed(void **state) {
  shim *s = *state;
  char path[128], file[160];
  make_cgroup(v2_root(), path);
  snprintf(file, sizeof file, "%s/cgroup.kill", path);
  if (access(file, W_OK) < 0) {
    remove_cgroup(path);
    print_message("no cgroup.kill here\n");
    skip();
  }
  write_cgroup(path, "cgroup.kill", "1");
  spec_shell(s, "cat /proc/self/cgroup");
  spec_add(s, "cgroup=%s", path);
  shim_start_ok(s);
  assert_contains(wait_state(s, "\"exited\""), "\"code\":0");
  wait_file(s, "log", strrchr(path, '/'));
  remove_cgroup(path);
}

static void the_shim_can_have_a_cgroup_of_its_own(void **state) {
  shim *s = *state;
  char path[128], procs[160], text[64], expected[64];
  make_cgroup(v2_root(), path);
  spec_add(s, "arg=/bin/sleep");
  spec_add(s, "arg=1000");
  shim_start(s, "--cgroup", path, NULL);
  assert_contains(s->ready, "ok ");
  snprintf(expected, sizeof expected, "%d\n", (int)shim_pid(s));
  snprintf(procs, sizeof procs, "%s/cgroup.procs", path);
  FILE *file = fopen(procs, "re");
  assert_non_null(fgets(text, sizeof text, file));
  fclose(file);
  assert_string_equal(text, expected);
  pid_t own = shim_pid(s);
  shim_ask(s, "stop");
  wait_gone(own);
  while (waitpid(-1, NULL, WNOHANG) > 0)
    continue;
  remove_cgroup(path);
}

static void a_stranger_in_the_cgroup_is_ended_with_the_service(void **state) {
  shim *s = *state;
  char path[128];
  make_cgroup(v2_root(), path);
  spec_add(s, "arg=/bin/sleep");
  spec_add(s, "arg=1000");
  spec_add(s, "stop_grace_ms=50");
  spec_add(s, "cgroup=%s", path);
  shim_start_ok(s);
  pid_t stranger = fork();
  if (stranger == 0) {
    signal(SIGTERM, SIG_IGN);
    execl(shim_binary, shim_binary, "exec", "--cgroup", path, "--", "/bin/sleep", "1000", NULL);
    _exit(99);
  }
  /* As its exec is over once it is in the cgroup: wait for the membership, by name. */
  char *members;
  do {
    char procs[160], pid_text[16];
    snprintf(procs, sizeof procs, "%s/cgroup.procs", path);
    snprintf(pid_text, sizeof pid_text, "%d\n", (int)stranger);
    FILE *file = fopen(procs, "re");
    char text[256];
    size_t len = fread(text, 1, sizeof text - 1, file);
    text[len] = '\0';
    fclose(file);
    members = strstr(text, pid_text);
    sched_yield();
  } while (members == NULL);
  shim_connect(s);
  assert_contains(shim_ask(s, "stop"), "\"exited\"");
  int status;
  assert_int_equal(waitpid(stranger, &status, 0), stranger);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  remove_cgroup(path);
}

static void a_cgroup_that_holds_processes_is_refused(void **state) {
  shim *s = *state;
  spec_add(s, "arg=/bin/sleep");
  spec_add(s, "arg=1000");
  spec_add(s, "cgroup=%s", v2_root());
  shim_start(s, NULL);
  assert_contains(s->ready, "error EBUSY the cgroup");
}

static void a_missing_cgroup_is_an_error_that_names_it(void **state) {
  shim *s = *state;
  spec_add(s, "arg=/bin/sleep");
  spec_add(s, "arg=1000");
  spec_add(s, "cgroup=/sys/fs/cgroup/nowhere/at/all");
  shim_start(s, NULL);
  assert_contains(s->ready, "error ENOENT cgroup `/sys/fs/cgroup/nowhere/at/all`");
}

/* ---- Users and limits. */

static void it_runs_as_the_user_and_can_reopen_its_output(void **state) {
  shim *s = *state;
  size_t len;
  need_root();
  spec_shell(s, "id -u >/dev/stdout; id -g; id -G");
  spec_add(s, "env=PATH=/bin:/usr/bin");
  spec_add(s, "uid=65534");
  spec_add(s, "gid=65533");
  spec_add(s, "group=7");
  shim_start_ok(s);
  wait_state(s, "\"exited\"");
  char *out = service_output(s, "stdout", &len);
  assert_string_equal(out, "65534\n65533\n65533 7\n");
  free(out);
}

static void a_service_of_another_user_still_dies_with_its_shim(void **state) {
  shim *s = *state;
  need_root();
  spec_add(s, "arg=/bin/sleep");
  spec_add(s, "arg=1000");
  spec_add(s, "uid=65534");
  spec_add(s, "gid=65534");
  shim_start_ok(s);
  pid_t service = service_pid(s), own = shim_pid(s);
  kill(own, SIGKILL);
  wait_gone(own);
  wait_gone(service);
}

static void limits_and_umask_are_the_specs(void **state) {
  shim *s = *state;
  size_t len;
  spec_shell(s, "ulimit -n; ulimit -c; umask; nice; cat /proc/self/oom_score_adj; "
                "grep NoNewPrivs /proc/self/status; pwd");
  spec_add(s, "env=PATH=/bin:/usr/bin");
  spec_add(s, "nofile=321");
  spec_add(s, "umask=027");
  spec_add(s, "nice=5");
  spec_add(s, "oom_score_adj=500");
  spec_add(s, "no_new_privs=1");
  spec_add(s, "cwd=/usr");
  struct rlimit before, core = {.rlim_cur = 512 * 100};
  getrlimit(RLIMIT_CORE, &before);
  core.rlim_max = before.rlim_max;
  setrlimit(RLIMIT_CORE, &core);
  shim_start_ok(s);
  setrlimit(RLIMIT_CORE, &before);
  wait_state(s, "\"exited\"");
  char *out = service_output(s, "stdout", &len);
  assert_string_equal(out, "321\n100\n0027\n5\n500\nNoNewPrivs:\t1\n/usr\n");
  free(out);
}

static void a_user_that_cannot_be_set_is_told(void **state) {
  shim *s = *state;
  if (geteuid() == 0)
    skip();
  spec_add(s, "arg=/bin/true");
  spec_add(s, "uid=0");
  spec_add(s, "gid=0");
  shim_start(s, NULL);
  assert_contains(s->ready, "error EPERM could not become user 0:0");
}

/* ---- moonport-shim exec. */

static int run_exec(const char *const *args) {
  const char *argv[24] = {shim_binary, "exec"};
  for (size_t i = 0; args[i]; i++)
    argv[i + 2] = args[i];
  pid_t pid = fork();
  if (pid == 0) {
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, 2);
    execv(shim_binary, (char **)argv);
    _exit(99);
  }
  int status;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define exec_code(...) run_exec((const char *const[]){__VA_ARGS__, NULL})

static void exec_passes_on_the_exit_code(void **state) {
  (void)state;
  assert_int_equal(exec_code("--", "/bin/sh", "-c", "exit 9"), 9);
  assert_int_equal(exec_code("sh", "-c", "exit 9"), 9); /* searched in PATH */
}

static void exec_tells_its_own_failures_apart(void **state) {
  (void)state;
  assert_int_equal(exec_code("--", "no-such-command-here"), 127);
  assert_int_equal(exec_code("--", "/etc/passwd"), 126);
  assert_int_equal(exec_code("--cgroup", "/nowhere", "--", "/bin/true"), 125);
  assert_int_equal(exec_code("--netns", "/nowhere", "--", "/bin/true"), 125);
  assert_int_equal(exec_code("--chdir", "/nowhere", "--", "/bin/true"), 125);
  assert_int_equal(exec_code("--user", "me", "--", "/bin/true"), 125);
  assert_int_equal(exec_code("--pdeathsig", "NONE", "--", "/bin/true"), 125);
  assert_int_equal(exec_code("--parent", "1", "--pdeathsig", "TERM", "--", "/bin/true"), 125);
  assert_int_equal(exec_code("--no-such-option"), 125);
  assert_int_equal(exec_code("--setsid"), 125);
}

static void exec_sets_session_directory_and_user(void **state) {
  (void)state;
  assert_int_equal(exec_code("--setsid", "--chdir", "/usr", "--", "/bin/sh", "-c",
                             "test \"$(ps -o sid= -p $$ | tr -d ' ')\" = $$ && test \"$PWD\" = "
                             "/usr || test \"$(pwd)\" = /usr"),
                   0);
  need_root();
  assert_int_equal(exec_code("--user", "65534:65534", "--groups", "7,8", "--", "/bin/sh", "-c",
                             "test \"$(id -u) $(id -G)\" = '65534 65534 7 8'"),
                   0);
}

static void exec_clears_what_an_earlier_run_left(void **state) {
  (void)state;
  char dir[] = "/tmp/mp-exec-XXXXXX", gone[64], anew[64], command[256];
  assert_non_null(mkdtemp(dir));
  snprintf(gone, sizeof gone, "%s/gone", dir);
  snprintf(anew, sizeof anew, "%s/anew", dir);
  snprintf(command, sizeof command, "echo left >'%s'; echo left >'%s'", gone, anew);
  assert_int_equal(exec_code("--", "/bin/sh", "-c", command), 0);
  snprintf(command, sizeof command, "test ! -e '%s' && test -e '%s' && test ! -s '%s'", gone, anew,
           anew);
  assert_int_equal(exec_code("--remove", gone, "--empty", anew, "--", "/bin/sh", "-c", command), 0);
  assert_int_equal(exec_code("--remove", gone, "--", "/bin/true"), 0); /* nothing there */
  assert_int_equal(exec_code("--remove", dir, "--", "/bin/true"), 125);
  assert_int_equal(exec_code("--empty", dir, "--", "/bin/true"), 125);
  assert_int_equal(unlink(anew), 0);
  assert_int_equal(rmdir(dir), 0);
}

static void exec_shows_a_directory_that_cannot_be_changed(void **state) {
  (void)state;
  char dir[] = "/tmp/mp-exec-XXXXXX", file[64], command[256];
  need_root();
  assert_non_null(mkdtemp(dir));
  snprintf(file, sizeof file, "%s/file", dir);
  snprintf(command, sizeof command, "echo kept >'%s'", file);
  assert_int_equal(exec_code("--", "/bin/sh", "-c", command), 0);
  snprintf(command, sizeof command,
           "grep -q kept '%s' && ! rm '%s' && ! echo >'%s' && ! echo >'%s/new'", file, file, file,
           dir);
  assert_int_equal(exec_code("--readonly", dir, "--", "/bin/sh", "-c", command), 0);
  assert_int_equal(exec_code("--readonly", "/nowhere", "--", "/bin/true"), 125);
  assert_int_equal(unlink(file), 0); /* it was not made so for us */
  assert_int_equal(rmdir(dir), 0);
}

/* Waits until something is there. */
static void await_file(const char *dir, const char *path) {
  char event[4096];
  int fd = inotify_init1(IN_CLOEXEC);
  assert_true(fd >= 0 && inotify_add_watch(fd, dir, IN_CREATE | IN_MOVED_TO) >= 0);
  while (access(path, F_OK) < 0)
    assert_true(read(fd, event, sizeof event) > 0);
  close(fd);
}

/* Reads from a socket to its end, and so for as long as who serves it runs. */
static void assert_served(const char *path, const char *text) {
  char got[64] = "";
  size_t len = 0;
  ssize_t count;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  strcpy(address.sun_path, path);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  while ((count = read(fd, got + len, sizeof got - 1 - len)) > 0)
    len += (size_t)count;
  assert_string_equal(got, text);
  close(fd);
}

static void exec_serves_one_client_after_the_other_and_ends_when_nobody_comes(void **state) {
  (void)state;
  char dir[] = "/tmp/mp-exec-XXXXXX", path[64];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/s", dir);
  /* Takes one client, says whether it was left a socket that listens, and ends. */
  static const char program[] = "import socket; s = socket.socket(fileno=3); c, _ = s.accept(); "
                                "c.sendall(b'served\\n')";
  pid_t pid = fork();
  if (pid == 0) {
    execl(shim_binary, shim_binary, "exec", "--serve", path, "--idle", "1", "--",
          "/usr/bin/python3", "-c", program, NULL);
    _exit(99);
  }
  await_file(dir, path);
  struct stat st;
  assert_int_equal(lstat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0666);
  for (int i = 0; i < 3; i++)
    assert_served(path, "served\n");
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(rmdir(dir), 0);
}

static void exec_gives_up_serving_what_fails_before_it_takes_its_client(void **state) {
  (void)state;
  char dir[] = "/tmp/mp-exec-XXXXXX", path[64], command[256];
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/s", dir);
  pid_t pid = fork();
  if (pid == 0) {
    execl(shim_binary, shim_binary, "exec", "--serve", path, "--", "/bin/sh", "-c", "exit 7", NULL);
    _exit(99);
  }
  await_file(dir, path);
  assert_served(path, "");
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  assert_int_equal(exec_code("--serve", path, "--", "/bin/true"), 125); /* it is there already */
  assert_int_equal(unlink(path), 0);
  assert_int_equal(exec_code("--serve", "/nowhere/s", "--", "/bin/true"), 125);
  assert_int_equal(exec_code("--idle", "1", "--", "/bin/true"), 125);
  snprintf(command, sizeof command, "/tmp/%0150d", 1);
  assert_int_equal(exec_code("--serve", command, "--", "/bin/true"), 125);
  assert_int_equal(rmdir(dir), 0);
}

static void exec_ends_with_its_parent(void **state) {
  (void)state;
  int alive[2];
  pid_t command;
  assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
  pid_t parent = fork();
  if (parent == 0) {
    char own[16];
    snprintf(own, sizeof own, "%d", (int)getpid());
    if (fork() == 0) {
      pid_t self = getpid(); /* written here, so that it comes before the command's newline */
      dup2(alive[1], 1);
      (void)!write(1, &self, sizeof self);
      execl(shim_binary, shim_binary, "exec", "--pdeathsig", "KILL", "--parent", own, "--",
            "/bin/sh", "-c", "echo; exec sleep 1000", NULL);
      _exit(99);
    }
    pause();
  }
  close(alive[1]);
  char byte;
  assert_int_equal(read(alive[0], &command, sizeof command), sizeof command);
  assert_int_equal(read(alive[0], &byte, 1), 1); /* it runs, and has set its death signal */
  kill(parent, SIGKILL);
  assert_int_equal(waitpid(parent, NULL, 0), parent);
  wait_gone(command);
  assert_int_equal(read(alive[0], &byte, 1), 0);
  close(alive[0]);
}

static int run(void) {
#define shim_test(name) cmocka_unit_test_setup_teardown(name, shim_setup, shim_teardown)
  const struct CMUnitTest tests[] = {
      shim_test(an_out_of_memory_kill_is_recorded_as_such),
      shim_test(a_kill_within_the_memory_limit_is_no_oom),
      shim_test(the_shim_stays_outside_the_cgroup_of_its_service),
      shim_test(a_service_starts_in_a_cgroup_that_was_killed),
      shim_test(the_shim_can_have_a_cgroup_of_its_own),
      shim_test(a_stranger_in_the_cgroup_is_ended_with_the_service),
      shim_test(a_cgroup_that_holds_processes_is_refused),
      shim_test(a_missing_cgroup_is_an_error_that_names_it),
      shim_test(it_runs_as_the_user_and_can_reopen_its_output),
      shim_test(a_service_of_another_user_still_dies_with_its_shim),
      shim_test(limits_and_umask_are_the_specs),
      shim_test(a_user_that_cannot_be_set_is_told),
      cmocka_unit_test(exec_passes_on_the_exit_code),
      cmocka_unit_test(exec_tells_its_own_failures_apart),
      cmocka_unit_test(exec_sets_session_directory_and_user),
      cmocka_unit_test(exec_clears_what_an_earlier_run_left),
      cmocka_unit_test(exec_shows_a_directory_that_cannot_be_changed),
      cmocka_unit_test(exec_serves_one_client_after_the_other_and_ends_when_nobody_comes),
      cmocka_unit_test(exec_gives_up_serving_what_fails_before_it_takes_its_client),
      cmocka_unit_test(exec_ends_with_its_parent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  return driver_main(argc, argv, run);
}
