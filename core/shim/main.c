/* moonport-shim: which command. */
#include "run.h"
#include "shim.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "Usage: moonport-shim run --dir DIR --socket PATH --spec-fd N [OPTION...]\n"
    "       moonport-shim agent --dir DIR --spec FILE\n"
    "       moonport-shim exec [OPTION...] -- COMMAND [ARG...]\n"
    "       moonport-shim probe tcp=ADDRESS:PORT|udp=ADDRESS:PORT [from=PORT]\n"
    "       moonport-shim --help | --version\n"
    "\n"
    "run: supervise one service after the caller has gone. The service is described by NUL-ended\n"
    "key=value records on the spec fd; see docs/shim.md.\n"
    "  --dir DIR        where state.json and the logs go (absolute, exists)\n"
    "  --socket PATH    the control socket to make (absolute, at most 107 bytes)\n"
    "  --socket-fd N    instead: a socket, or a character device, that is open already\n"
    "  --spec-fd N      where to read the spec\n"
    "  --ready-fd N     gets one line: `ok PID`, or `error CODE MESSAGE`\n"
    "  --cgroup PATH    a cgroup for the shim itself (may be repeated)\n"
    "  --foreground     stay in this process and session\n"
    "  --stay           go on answering after the service has ended, until `shutdown`\n"
    "\n"
    "agent: in a guest, supervise the service and answer the host over virtio-serial or vsock.\n"
    "  --dir DIR        as above; made where it is missing\n"
    "  --spec FILE      a file with the spec\n"
    "\n"
    "exec: set up this process, then execute COMMAND, searched in PATH, in its place.\n"
    "  --cgroup PATH    join a cgroup (may be repeated)\n"
    "  --netns PATH     enter a network namespace\n"
    "  --setsid         in a session of its own\n"
    "  --ctty           stdin becomes its controlling terminal (implies --setsid)\n"
    "  --user UID:GID   become this user (numbers)\n"
    "  --groups G,...   with these supplementary groups, else none (needs --user)\n"
    "  --chdir DIR      in this directory\n"
    "  --pdeathsig SIG  get SIG when the parent ends\n"
    "  --remove PATH    first remove what an earlier run left there (may be repeated)\n"
    "  --empty PATH     first make this file anew (may be repeated)\n"
    "  --readonly DIR   nothing in this directory can be changed (may be repeated)\n"
    "  --serve PATH     listen on this Unix socket, and execute COMMAND, with it as fd 3,\n"
    "                   whenever somebody has connected: again after each end\n"
    "  --idle SECONDS   with --serve: end when nobody has connected for so long\n"
    "  --parent PID     with --pdeathsig: not at all, if the parent is not PID any more\n"
    "Exit codes: 125 the set-up failed, 126 COMMAND cannot be executed, 127 there is none.\n"
    "\n"
    "probe: send one packet, and wait for nothing.\n";

int main(int argc, char **argv) {
  const char *command = argc > 1 ? argv[1] : "";
  if (strcmp(command, "run") == 0)
    return mp_shim_command_run(argc - 1, argv + 1);
  if (strcmp(command, "agent") == 0)
    return mp_shim_command_agent(argc - 1, argv + 1);
  if (strcmp(command, "exec") == 0)
    return mp_shim_command_exec(argc - 1, argv + 1);
  if (strcmp(command, "probe") == 0)
    return mp_shim_command_probe(argc - 1, argv + 1);
  if (strcmp(command, "--version") == 0) {
    printf("moonport-shim %s (protocol %d)\n", MP_SHIM_VERSION, MP_SHIM_PROTOCOL);
    return 0;
  }
  if (strcmp(command, "--help") == 0) {
    fputs(help, stdout);
    return 0;
  }
  fputs(help, stderr);
  return 2;
}
