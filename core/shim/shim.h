/* clang-format off */
/* moonport-shim: owns one service after whoever started it has gone.
 *
 *   moonport-shim run --dir DIR --socket PATH --spec-fd N [--ready-fd M] ...
 *   moonport-shim agent --dir DIR --spec FILE
 *
 * This comment is the contract of `run` and `agent`: the spec, the files, the life cycle, the control protocol.
 * docs/shim.md tells the same as a story, `moonport-shim --help` lists the options.
 *
 * SPEC. Read from --spec-fd (memfd, file or pipe; never argv, which everybody can see): records
 * `key=value`, each ended by a NUL byte, like /proc/PID/environ. The first is `version=1`, the last
 * `end=1`, so that a spec cut short is never obeyed. At most 2 MiB, 128 KiB a record. A key that is
 * not listed is an error that names it. Nothing of the spec but name and id is written anywhere.
 *
 *   name=, id=             labels for the record (at most 128 bytes, no control characters)
 *   arg= (repeated)        the exact argv; arg[0] is a path (PATH is not searched)
 *   exe=PATH               the file to execute, when it is not arg[0]
 *   env=NAME=VALUE (rep.)  the whole environment; nothing is added
 *   cwd=DIR                default /
 *   uid= gid= group=(rep.) numeric; without them the shim's own. group= are the supplementary ones,
 *                          none unless given
 *   cgroup=PATH (rep.)     absolute paths in a cgroup file system that exist and hold no process:
 *                          one on v2, one per controller on v1. Who made them removes them
 *   restart=no|on-failure|always   default no. on-failure: unless it exited with code 0
 *   restart_max=N          restarts in a row before giving up; default no limit
 *   backoff_initial_ms=1000 backoff_max_ms=60000   the wait before a restart: initial, doubled for
 *                          each further one in a row, at most max
 *   backoff_reset_ms=60000 a run that lasted this long begins the counting anew
 *   stop_signal=TERM stop_grace_ms=10000
 *   drain_ms=2000          how long output may stay open after the last process has gone
 *   log_max_size=10485760 log_max_files=5   files include the newest
 *   umask=022 nofile=SOFT[:HARD] nice=N oom_score_adj=N no_new_privs=1
 *   notify=PATH            absolute: makes a socket there, on which the service says that it is
 *                          ready, see NOTIFY; its environment gets NOTIFY_SOCKET=PATH
 *   bounded_file=PATH      absolute, a file that exists: the service writes it, and of what it has
 *                          written only the end is kept (bounded.h)
 *
 * READY. Once the program is executed the shim writes `ok PID\n` to --ready-fd; when it cannot be,
 * `error CODE MESSAGE\n`, and it exits. The process that was started returns after that: 0, or 1
 * (without --ready-fd with the message on stderr); the supervisor goes on in a process of its own,
 * in its own session, which is nobody's zombie. With --foreground it goes on in the first one.
 *
 * FILES, all in --dir, mode 0600:
 *
 *   state.json   the record, replaced by rename at every change
 *   log, log.1 ..  the service's output in the CRI format (log.h)
 *   shim.log     what the shim did, in the same format: starts, ends, each rung of a stop
 *   shim.lock    held with flock(2) while a shim lives: whoever gets the lock knows that none does
 *
 * state.json, one object (times are RFC 3339 or null):
 *
 *   schema 1
 *   name, id
 *   state        starting | running | backoff | stopping | exited | failed
 *   wanted       "up"; "down" after a client asked for a stop. A reboot or SIGTERM to the shim does
 *                not change it: it tells what to restore
 *   end          null, or why it ended for good: exit (by itself, and the policy asks for no more),
 *                gave-up (restart_max), start-failed, stopped (by request), terminated (the shim
 *                got SIGTERM or SIGINT)
 *   service      null, or {pid, start_time, boot_id} of the main process; start_time is field 22 of
 *                /proc/PID/stat
 *   shim         {pid, start_time, boot_id, version, protocol}
 *   restarts     automatic restarts since this shim began
 *   started_at, changed_at, next_start_at (in backoff)
 *   exit         null, or the last end of the main process: {code, signal, oom, peak_memory,
 *                started_at, at}. One of code and signal ("KILL") is null. oom is true when the
 *                kernel killed for memory in the cgroup during that run, null without a memory
 *                cgroup; peak_memory is in bytes, of the cgroup, or without one of the largest
 *                single process
 *   error        null, or {code, message}: why the last start failed
 *   log          {dropped_bytes, dropped_lines}: output lost because the log could not be written
 *   copy         the same of what an agent's host did not take; absent without a host that takes any
 *   notify       absent without the record `notify`; else what the service told of itself: {ready,
 *                stopping, status}. `status` is null or a line of at most 255 bytes
 *
 * LIFE. The service dies with the shim (its main process gets SIGKILL). When the main process ends,
 * whatever it left behind gets the stop signal, after stop_grace_ms SIGKILL; a run is over when no
 * process is left and both pipes are at their end (drain_ms bounds that). A service that puts
 * itself in the background is therefore over: run it in the foreground. A stop is a ladder: the
 * signal (and SIGCONT) to the main process, after the grace SIGKILL to the cgroup and to everything
 * below the shim.
 *
 * After an end for good the shim answers who waits, records it and exits, so an ended service costs
 * nothing: read state.json, and to start it again run a new shim. It removes its socket, so a
 * refused or missing socket with an ended state.json is the normal end; with another state in it,
 * and shim.lock free, the shim was killed. With --stay (an agent in a guest) it goes on to answer
 * until `shutdown`, and `start` starts the service again.
 *
 * SIGTERM or SIGINT to the shim is a stop, a second one a stop without grace; then it exits. A full
 * disk stops nothing: output is drained, dropped and counted; a record that could not be written is
 * tried again, and the shim does not exit before its last one is (unless --dir was removed).
 *
 * NOTIFY. A service with the record `notify` tells of itself as to systemd (sd_notify(3)): by
 * datagrams of lines NAME=VALUE, of at most 4096 bytes in all. Its user, and root, can write to the
 * socket; what is obeyed must come from the service's main process, one that descends from it, or
 * one that such a process left behind. A command of `exec` is none, nor what descends from it. The
 * kernel names a sender by its number alone, so one that has ended before its words are read cannot
 * be placed, and is passed over: a helper of a script sends BARRIER=1 with an fd, as
 * systemd-notify(1) does, and waits until that is closed.
 *
 *   READY=1              it is ready, until its main process ends or it says STOPPING=1
 *   STATUS=TEXT          for people. Told at most once a second
 *   STOPPING=1           it is about to end, and not ready any more in this run
 *   BARRIER=1            what came before has been read once the fd sent with it is closed
 *
 * Everything else is passed over: WATCHDOG=1, since nothing is asked of it (WATCHDOG_USEC is not
 * set); EXTEND_TIMEOUT_USEC, since how long to wait is for those who wait; MAINPID, since the main
 * process is the one that was started. A restart begins with nothing told.
 *
 * AGENT. In a guest: as --foreground and --stay, with the spec from a file, and these channels in
 * place of a socket, as far as the machine has them; those that come later are found too:
 *
 *   virtio-serial ports `moonport.agent.*`, each one client
 *   vsock port 1024, for clients from the host
 *   virtio-serial port `moonport.output`, else /dev/hvc0: gets a copy of the service's output, whole
 *     lines of stdout and stderr as they come. What the host does not take is dropped after 256 KiB
 *     and counted, and the copy tells how much is missing where it is missing
 *
 * The restart policy holds from the first start on. oom_score_adj is 0 unless given: what protects the
 * agent is not the service's.
 *
 * PROTOCOL, version 1, on the Unix socket (mode 0600; for its own user and root): lines of text. A
 * new connection is greeted with `moonport-shim 1 VERSION\n`. A request is a word and options, at
 * most 1023 bytes; the answer is one line, `ok {JSON}` or `error CODE MESSAGE`, in the order of the
 * requests. `state` below is the object of state.json.
 *
 *   hello [WORD]                   the greeting again, with a word of [0-9a-z]{1,32} at its end
 *   version                        {"version", "protocol", "pid"}
 *   status                         state
 *   signal NAME                    to the main process; state
 *   stop [signal=S] [grace_ms=N]   state, once it has ended. While it is stopping: sends the
 *                                  signal, and can only shorten the grace
 *   start                          state, once running; at once in backoff. Needs --stay after an
 *                                  end
 *   restart [signal=S] [grace_ms=N]  stop, then start; counts as no automatic restart
 *   wait                           state, once it has ended for good
 *   events                         state now, then a line `event {JSON}` with it at every change;
 *                                  a client that does not read 64 KiB is let go
 *   shutdown [signal=S] [grace_ms=N]  stop, and exit also with --stay; state
 *   network [wait_ms=N]            {"up", "address", "gateway", "problem", "interfaces": {NAME: {"mac",
 *                                  "up", "carrier", "address", "prefix"}}}; with wait_ms once it is
 *                                  up, or after that time. Up: an interface that is hardware is up
 *                                  and has an IPv4 address, and there is a default route
 *   probe tcp=ADDRESS:PORT [from=PORT]   {}: one packet was sent from this machine, by IPv4; udp= too.
 *                                  Errors: "EADDRINUSE", "ENETUNREACH", ...
 *   exec [rows=N columns=N] [input=1]   runs a command, see below
 *
 * A character device (a virtio-serial port) has no connections: who opens it says an empty line and
 * `hello WORD`, and what comes before the answer with that word is another one's. The hello also ends
 * what that one had under way.
 *
 * EXEC. A line `exec`, then lines `spec BYTES` whose bytes make up a spec as above, then `run`. The
 * command starts where the service's runs: with its user, directory, limits, cgroups, and its
 * environment, in which `env=` sets and `unset=NAME` takes away; arg[0] is searched in PATH. Answers
 * `ok {"pid"}` or an error. Bytes stand on a line with \n for a newline, \r for a carriage return and
 * \\ for a backslash. From then on until `end` the connection is the command's:
 *
 *   in BYTES, eof       its input; at most 32 KiB may be sent that are not confirmed by `took`
 *   window ROWS COLUMNS the size of its terminal
 *   kill NAME           a signal to its process group
 *   out BYTES, err BYTES   what it wrote; with a terminal all is `out`
 *   took N              bytes of input that it has read, or will never read
 *   end {"code", "signal"} it has ended, and so has its output (what it left behind may hold that
 *                       open for a second). One of the two is null
 *
 * A client that does not read holds its command up. When it goes away the command gets SIGHUP, and
 * SIGKILL five seconds later. Commands are none of the service: a stop does not reach them.
 *
 * Codes: unknown-request (also what an older shim answers to a newer client), invalid, too-long,
 * busy, denied, not-running, ended, start-failed, and errno names. A client ignores members of JSON
 * objects, and lines after `ok` or `event`, that it does not know. */
/* clang-format on */
#ifndef MP_SHIM_SHIM_H
#define MP_SHIM_SHIM_H

enum { MP_SHIM_PROTOCOL = 1 };

#ifndef MP_SHIM_VERSION
#define MP_SHIM_VERSION "unknown"
#endif

/* What a new connection is sent; the number is MP_SHIM_PROTOCOL. */
#define MP_SHIM_GREETING "moonport-shim 1 " MP_SHIM_VERSION "\n"

#endif
