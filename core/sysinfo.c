#include "sysinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DOMAIN "sys"

/* More than any kernel has: the affinity call fails with a set smaller than the kernel's. */
#define CPUS_MAX 8192

unsigned mp_sys_cpus(void) {
  cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
  int count = 0;
  if (set && sched_getaffinity(0, CPU_ALLOC_SIZE(CPUS_MAX), set) == 0)
    count = CPU_COUNT_S(CPU_ALLOC_SIZE(CPUS_MAX), set);
  CPU_FREE(set);
  return count > 0 ? (unsigned)count : 1;
}

/* Finds the line that begins with `key` and scans the number after it. */
static int scan_line(const char *path, const char *key, const char *format, uint64_t *value) {
  char line[256];
  size_t len = strlen(key);
  int found = -1;
  FILE *file = fopen(path, "re");
  if (file == NULL)
    return -1;
  errno = ENODATA;
  while (found < 0 && fgets(line, sizeof line, file)) {
    if (strncmp(line, key, len) == 0 && sscanf(line + len, format, value) == 1)
      found = 0;
  }
  fclose(file);
  return found;
}

int mp_sys_read_memory(mp_sys_memory *memory, mp_error *err) {
  uint64_t total, available;
  if (scan_line("/proc/meminfo", "MemTotal:", "%" SCNu64, &total) < 0 ||
      scan_line("/proc/meminfo", "MemAvailable:", "%" SCNu64, &available) < 0)
    return mp_error_errno(err, DOMAIN, errno, "could not read `/proc/meminfo`");
  *memory = (mp_sys_memory){.total = total * 1024, .available = available * 1024};
  return 0;
}

double mp_sys_uptime(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int mp_sys_capabilities(uint64_t *effective, mp_error *err) {
  uint64_t bits;
  if (scan_line("/proc/self/status", "CapEff:", "%" SCNx64, &bits) < 0)
    return mp_error_errno(err, DOMAIN, errno, "could not read `/proc/self/status`");
  *effective = bits;
  return 0;
}

static const char *const capabilities[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};

#define CAPABILITIES (sizeof capabilities / sizeof *capabilities)

const char *mp_sys_capability_name(unsigned number) {
  return number < CAPABILITIES ? capabilities[number] : NULL;
}

int mp_sys_capability_number(const char *name) {
  for (unsigned i = 0; i < CAPABILITIES; i++) {
    if (strcasecmp(name, capabilities[i]) == 0 || strcasecmp(name, capabilities[i] + 4) == 0)
      return (int)i;
  }
  return -1;
}

int mp_sys_check_kvm(mp_error *err) {
  int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    return 0;
  }
  int errnum = errno;
  mp_error_errno(err, DOMAIN, errnum, "could not open `/dev/kvm`");
  if (errnum == EACCES || errnum == EPERM)
    return mp_error_hint(err, "add the account to the group `kvm` and log in again");
  return mp_error_hint(err, "is virtualization on in the firmware, and is kvm_intel or kvm_amd "
                            "loaded? In a VM, the host must allow nesting");
}

int mp_sys_landlock(void) {
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* only the version */);
  return version < 0 ? 0 : (int)version;
}

/* The names of number 1 and up; those that vary by machine come from the headers. */
static const struct {
  const char *name;
  int number;
} signals[] = {
    {"SIGHUP", SIGHUP},   {"SIGINT", SIGINT},       {"SIGQUIT", SIGQUIT}, {"SIGILL", SIGILL},
    {"SIGTRAP", SIGTRAP}, {"SIGABRT", SIGABRT},     {"SIGBUS", SIGBUS},   {"SIGFPE", SIGFPE},
    {"SIGKILL", SIGKILL}, {"SIGUSR1", SIGUSR1},     {"SIGSEGV", SIGSEGV}, {"SIGUSR2", SIGUSR2},
    {"SIGPIPE", SIGPIPE}, {"SIGALRM", SIGALRM},     {"SIGTERM", SIGTERM}, {"SIGSTKFLT", SIGSTKFLT},
    {"SIGCHLD", SIGCHLD}, {"SIGCONT", SIGCONT},     {"SIGSTOP", SIGSTOP}, {"SIGTSTP", SIGTSTP},
    {"SIGTTIN", SIGTTIN}, {"SIGTTOU", SIGTTOU},     {"SIGURG", SIGURG},   {"SIGXCPU", SIGXCPU},
    {"SIGXFSZ", SIGXFSZ}, {"SIGVTALRM", SIGVTALRM}, {"SIGPROF", SIGPROF}, {"SIGWINCH", SIGWINCH},
    {"SIGIO", SIGIO},     {"SIGPWR", SIGPWR},       {"SIGSYS", SIGSYS},
};

#define SIGNALS (sizeof signals / sizeof *signals)

int mp_sys_signal_number(const char *name) {
  if (*name >= '0' && *name <= '9') {
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    return *end == '\0' && number < NSIG ? (int)number : 0;
  }
  for (size_t i = 0; i < SIGNALS; i++) {
    if (strcasecmp(name, signals[i].name) == 0 || strcasecmp(name, signals[i].name + 3) == 0)
      return signals[i].number;
  }
  return 0;
}

const char *mp_sys_signal_name(int number) {
  for (size_t i = 0; i < SIGNALS; i++) {
    if (signals[i].number == number)
      return signals[i].name;
  }
  return NULL;
}
