#include "session.h"

#include "clock.h"
#include "escape.h"
#include "json.h"
#include "pty.h"
#include "service.h"
#include "signals.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  WINDOW = 32 * 1024,      /* input that a client may send before it hears that it was taken */
  REPORT = 8 * 1024,       /* input taken between two such words */
  BLOCK = 4096,            /* output on one line */
  OUTPUT_HIGH = 16 * 1024, /* unread lines with which a command is held up */
  HANG_UP_MS = 5000,
  DRAIN_MS = 1000,
};

struct mp_shim_session {
  mp_shim_session *next;
  mp_shim_sessions *owner;
  mp_shim_client *client; /* NULL: it went away, or was told the end */

  char *text; /* of the spec, until `run`; owned */
  size_t text_len;
  size_t text_cap;
  mp_shim_spec spec;
  int rows, columns;
  bool wants_input;

  pid_t pid; /* 0: not started */
  bool exited;
  int status;
  int exec_fd;
  mp_shim_source exec;
  mp_shim_source
      input; /* fds: -1 when closed. With a terminal, input and output[0] are the master */
  mp_shim_source output[2];
  bool waits_to_write; /* input is in the loop */
  bool reads;          /* the outputs are in the loop */

  char *held; /* input that the command has not taken; owned, of WINDOW bytes */
  size_t held_len;
  size_t unreported;
  bool input_ends; /* behind what is held */

  int64_t deadline; /* 0: none */
  bool hung_up;
};

/* ---- Ends. */

static void set_timer(mp_shim_sessions *sessions) {
  sessions->timer.at = 0;
  for (mp_shim_session *at = sessions->first; at; at = at->next)
    if (at->deadline > 0 && (sessions->timer.at == 0 || at->deadline < sessions->timer.at))
      sessions->timer.at = at->deadline;
}

static void set_deadline(mp_shim_session *session, int64_t at) {
  session->deadline = at;
  set_timer(session->owner);
}

static void close_source(mp_shim_session *session, mp_shim_source *source, bool in_loop) {
  if (source->fd < 0)
    return;
  if (in_loop)
    mp_shim_loop_remove(session->owner->loop, source);
  close(source->fd);
  source->fd = -1;
}

static void close_input(mp_shim_session *session) {
  close_source(session, &session->input, session->waits_to_write);
  session->waits_to_write = false;
}

static void close_output(mp_shim_session *session, int which) {
  close_source(session, &session->output[which], session->reads);
}

static void free_session(mp_shim_session *session) {
  mp_shim_session **link = &session->owner->first;
  while (*link != session)
    link = &(*link)->next;
  *link = session->next;
  session->owner->count--;
  close_input(session);
  close_output(session, 0);
  close_output(session, 1);
  close_source(session, &session->exec, true);
  if (session->text)
    explicit_bzero(session->text, session->text_len);
  free(session->text);
  free(session->held);
  mp_shim_spec_free(&session->spec);
  set_timer(session->owner);
  free(session);
}

/* Says farewell to the client; its next line is a request again. */
static mp_shim_client *leave_client(mp_shim_session *session) {
  mp_shim_client *client = session->client;
  if (client)
    client->session = NULL;
  session->client = NULL;
  return client;
}

static void free_if_over(mp_shim_session *session) {
  if (session->client == NULL && (session->pid == 0 || session->exited))
    free_session(session);
}

static void refuse(mp_shim_session *session, const mp_shim_error *err) {
  mp_shim_client *client = leave_client(session);
  free_if_over(session);
  mp_shim_client_error(client, err->code, err->message);
}

static void tell_end(mp_shim_session *session) {
  char text[128], line[160];
  mp_shim_json json;
  int status = session->status;
  mp_shim_json_init(&json, text, sizeof text);
  mp_shim_json_open(&json, NULL);
  if (WIFEXITED(status))
    mp_shim_json_int(&json, "code", WEXITSTATUS(status));
  else
    mp_shim_json_null(&json, "code");
  mp_shim_json_string(&json, "signal",
                      WIFSIGNALED(status) ? mp_shim_signal_name(WTERMSIG(status)) : NULL);
  mp_shim_json_close(&json);
  int len = snprintf(line, sizeof line, "end %s\n", text);
  mp_shim_client_send(leave_client(session), line, (size_t)len);
}

/* Over, when the command has ended and its output is at its end. True when it was, and is freed. */
static bool finish(mp_shim_session *session) {
  bool open = session->output[0].fd >= 0 || session->output[1].fd >= 0;
  if (!session->exited || open || session->exec.fd >= 0)
    return false;
  if (session->client)
    tell_end(session);
  free_session(session);
  return true;
}

static void signal_group(const mp_shim_session *session, int signal) {
  if (session->pid == 0 || session->exited)
    return;
  /* Not waited for, so the number is its own. It may not have made its group yet. */
  if (kill(-session->pid, signal) < 0)
    kill(session->pid, signal);
}

/* Nobody is there to read or to write: as when the line to a terminal is cut. */
static void hang_up(mp_shim_session *session) {
  close_input(session);
  close_output(session, 0);
  close_output(session, 1);
  session->hung_up = true;
  signal_group(session, SIGHUP);
  signal_group(session, SIGCONT);
  if (session->pid > 0 && !session->exited)
    set_deadline(session, mp_shim_now_ms() + HANG_UP_MS);
  free_if_over(session);
}

void mp_shim_session_gone(mp_shim_client *client) {
  mp_shim_session *session = client->session;
  if (session == NULL)
    return;
  leave_client(session);
  hang_up(session);
}

static void on_timer(mp_shim_timer *timer) {
  mp_shim_sessions *sessions = timer->owner;
  int64_t now = mp_shim_now_ms();
  for (mp_shim_session *next, *at = sessions->first; at; at = next) {
    next = at->next;
    if (at->deadline == 0 || at->deadline > now)
      continue;
    at->deadline = 0;
    if (at->hung_up) {
      signal_group(at, SIGKILL);
    } else if (!at->reads) {
      at->deadline = now + DRAIN_MS; /* its client is slow: nothing of it is lost by that */
    } else {                         /* whoever holds the output now is not the command */
      close_output(at, 0);
      close_output(at, 1);
      finish(at);
    }
  }
  set_timer(sessions);
}

/* ---- Output. */

static void read_outputs(mp_shim_session *session, bool reads) {
  if (session->reads == reads)
    return;
  session->reads = reads;
  for (int i = 0; i < 2; i++) {
    if (session->output[i].fd < 0)
      continue;
    /* Removed, not only asked for nothing: the end of a pipe would be told all the same. */
    if (reads)
      mp_shim_loop_add(session->owner->loop, &session->output[i], EPOLLIN);
    else
      mp_shim_loop_remove(session->owner->loop, &session->output[i]);
  }
}

static void send_output(mp_shim_session *session, int which, const char *bytes, size_t len) {
  static char line[2 * BLOCK + 8];
  size_t used = (size_t)(stpcpy(line, which == 0 ? "out " : "err ") - line);
  used += mp_shim_escape(bytes, len, line + used);
  line[used++] = '\n';
  mp_shim_client_send(session->client, line, used);
}

static void on_output(mp_shim_source *source, uint32_t events) {
  static char bytes[BLOCK];
  mp_shim_session *session = source->owner;
  int which = source == &session->output[1];
  (void)events;
  ssize_t got = read(source->fd, bytes, sizeof bytes);
  if (got > 0) {
    send_output(session, which, bytes, (size_t)got);
    if (session->client->out_len >= OUTPUT_HIGH)
      read_outputs(session, false);
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) { /* EIO: a terminal's end */
    close_output(session, which);
    finish(session);
  }
}

void mp_shim_session_drained(mp_shim_client *client) {
  mp_shim_session *session = client->session;
  if (session && session->pid > 0 && session->exec.fd < 0)
    read_outputs(session, true);
}

/* ---- Input. */

static void report_taken(mp_shim_session *session, size_t bytes) {
  char line[32];
  session->unreported += bytes;
  if (session->unreported == 0 || (session->unreported < REPORT && session->held_len > 0))
    return;
  int len = snprintf(line, sizeof line, "took %zu\n", session->unreported);
  session->unreported = 0;
  mp_shim_client_send(session->client, line, (size_t)len);
}

static void end_input(mp_shim_session *session) {
  /* A terminal stays open: there its end is a character. */
  if (session->rows > 0 && session->input.fd >= 0 && write(session->input.fd, "\4", 1) < 0)
    close_input(session);
  if (session->rows == 0)
    close_input(session);
  session->input_ends = false;
}

static void write_input(mp_shim_session *session) {
  size_t taken = session->held_len; /* what nobody will read is taken too */
  if (session->input.fd >= 0 && session->held_len > 0) {
    ssize_t wrote = write(session->input.fd, session->held, session->held_len);
    if (wrote < 0 && (errno == EAGAIN || errno == EINTR))
      wrote = 0;
    if (wrote < 0)
      close_input(session);
    else
      taken = (size_t)wrote;
  }
  session->held_len -= taken;
  if (session->held_len > 0)
    memmove(session->held, session->held + taken, session->held_len);
  bool waits = session->held_len > 0;
  if (waits && !session->waits_to_write)
    mp_shim_loop_add(session->owner->loop, &session->input, EPOLLOUT);
  else if (!waits && session->waits_to_write)
    mp_shim_loop_remove(session->owner->loop, &session->input);
  session->waits_to_write = waits;
  if (session->held_len == 0 && session->input_ends)
    end_input(session);
  report_taken(session, taken);
}

static void on_input(mp_shim_source *source, uint32_t events) {
  (void)events;
  write_input(source->owner);
}

static void take_input(mp_shim_session *session, char *bytes, size_t len) {
  mp_shim_error err;
  if (session->held == NULL)
    session->held = malloc(WINDOW);
  len = mp_shim_unescape(bytes, len);
  if (session->held == NULL || session->input_ends || len > WINDOW - session->held_len) {
    mp_shim_fail(&err, "limit", "more input than the %d bytes that may be under way", WINDOW);
    mp_shim_client *client = leave_client(session);
    hang_up(session);
    mp_shim_client_error(client, err.code, err.message);
    return;
  }
  memcpy(session->held + session->held_len, bytes, len);
  session->held_len += len;
  if (!session->waits_to_write)
    write_input(session);
}

/* ---- The start. */

static void started(mp_shim_session *session) {
  char text[32];
  snprintf(text, sizeof text, "{\"pid\":%d}", (int)session->pid);
  mp_shim_client_ok(session->client, text);
  read_outputs(session, true);
}

/* The command has ended: so does what it wrote, unless it left it to somebody. */
static void after_exit(mp_shim_session *session) {
  if (!finish(session))
    set_deadline(session, mp_shim_now_ms() + DRAIN_MS);
}

/* Whether the program runs, or why not. */
static void on_exec(mp_shim_source *source, uint32_t events) {
  mp_shim_session *session = source->owner;
  mp_shim_error err;
  (void)events;
  mp_shim_loop_remove(session->owner->loop, source);
  int executed = mp_shim_child_executed(&session->exec_fd, &session->spec, &err);
  if (executed == 0) {
    mp_shim_loop_add(session->owner->loop, source, EPOLLIN);
    return;
  }
  source->fd = -1;
  if (session->client == NULL) {
    free_if_over(session);
  } else if (executed < 0) {
    refuse(session, &err);
  } else {
    started(session);
    if (session->exited)
      after_exit(session);
  }
}

/* Another user opens /dev/stdout and /dev/tty too, which asks for rights on what is behind them. */
static int give(const mp_shim_session *session, int fd) {
  if (session->spec.has_user && fchown(fd, session->spec.uid, session->spec.gid) < 0)
    return fd; /* who may not give it away runs as themselves */
  return fd;
}

static int open_terminal(mp_shim_session *session, int theirs[3], mp_shim_error *err) {
  int master = mp_shim_pty_open(session->rows, session->columns, &theirs[0], err);
  if (master < 0)
    return -1;
  theirs[1] = theirs[2] = give(session, theirs[0]);
  session->output[0].fd = master;
  session->input.fd = fcntl(master, F_DUPFD_CLOEXEC, 3); /* the loop takes an fd once */
  return 0;
}

static int open_input(mp_shim_session *session, int *theirs, mp_shim_error *err) {
  int ends[2];
  if (!session->wants_input) {
    *theirs = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return *theirs < 0 ? mp_shim_fail_errno(err, errno, "could not open /dev/null") : 0;
  }
  if (mp_shim_pipe(ends, 1, err) < 0)
    return -1;
  session->input.fd = ends[1];
  *theirs = give(session, ends[0]);
  return 0;
}

static int open_streams(mp_shim_session *session, int theirs[3], mp_shim_error *err) {
  int ends[2];
  if (session->rows > 0)
    return open_terminal(session, theirs, err);
  if (open_input(session, &theirs[0], err) < 0)
    return -1;
  for (int i = 0; i < 2; i++) {
    if (mp_shim_pipe(ends, 0, err) < 0)
      return -1;
    session->output[i].fd = ends[0];
    theirs[i + 1] = give(session, ends[1]);
  }
  return 0;
}

static void close_theirs(const int theirs[3]) {
  for (int i = 0; i < 3; i++)
    if (theirs[i] >= 0 && (i == 0 || theirs[i] != theirs[0]))
      close(theirs[i]);
}

static int start(mp_shim_session *session, mp_shim_error *err) {
  mp_shim_child child = {{-1, -1, -1}, .terminal = session->rows > 0, .search = true};
  char *text = session->text;
  session->text = NULL;
  if (mp_shim_spec_parse_exec(&session->spec, session->owner->service, text, session->text_len,
                              err) < 0)
    return -1;
  pid_t pid = -1;
  if (open_streams(session, child.stdio, err) == 0)
    pid = mp_shim_child_start(&session->spec, session->owner->core, &child, &session->exec_fd, err);
  close_theirs(child.stdio);
  if (pid < 0)
    return -1;
  session->pid = pid;
  mp_shim_tree_exempt(pid);
  session->exec.fd = session->exec_fd;
  mp_shim_loop_add(session->owner->loop, &session->exec, EPOLLIN);
  return 0;
}

static int add_text(mp_shim_session *session, char *bytes, size_t len, mp_shim_error *err) {
  len = mp_shim_unescape(bytes, len);
  size_t need = session->text_len + len;
  if (need > MP_SHIM_SPEC_MAX)
    return mp_shim_fail(err, "limit", "the spec is longer than %d bytes", MP_SHIM_SPEC_MAX);
  if (need > session->text_cap) {
    size_t cap = need < 1024 ? 1024 : need * 2;
    char *larger = realloc(session->text, cap);
    if (larger == NULL)
      return mp_shim_fail_errno(err, ENOMEM, "could not read the spec");
    session->text = larger;
    session->text_cap = cap;
  }
  memcpy(session->text + session->text_len, bytes, len);
  session->text_len = need;
  return 0;
}

static void init(mp_shim_source *source, void (*on_ready)(mp_shim_source *, uint32_t),
                 mp_shim_session *session) {
  *source = (mp_shim_source){.fd = -1, .on_ready = on_ready, .owner = session};
}

void mp_shim_session_begin(mp_shim_sessions *sessions, mp_shim_client *client,
                           const mp_shim_request *request) {
  mp_shim_session *session =
      sessions->count < MP_SHIM_EXEMPT_MAX ? calloc(1, sizeof *session) : NULL;
  if (session == NULL) {
    mp_shim_client_error(client, "busy", "too many commands run already");
    return;
  }
  session->owner = sessions;
  session->client = client;
  session->rows = request->rows;
  session->columns = request->columns;
  session->wants_input = request->input || request->rows > 0;
  session->exec_fd = -1;
  init(&session->exec, on_exec, session);
  init(&session->input, on_input, session);
  init(&session->output[0], on_output, session);
  init(&session->output[1], on_output, session);
  session->next = sessions->first;
  sessions->first = session;
  sessions->count++;
  client->session = session;
}

void mp_shim_sessions_init(mp_shim_sessions *sessions) {
  sessions->timer = (mp_shim_timer){.on_due = on_timer, .owner = sessions};
  mp_shim_loop_add_timer(sessions->loop, &sessions->timer);
}

/* ---- Lines. */

/* The line is WORD, or begins with WORD and a blank: then *rest is what follows. */
static bool is_word(char *line, size_t len, const char *word, char **rest, size_t *rest_len) {
  size_t size = strlen(word);
  if (len < size || memcmp(line, word, size) != 0 || (len > size && line[size] != ' '))
    return false;
  *rest = line + size + (len > size);
  *rest_len = len - (size_t)(*rest - line);
  return true;
}

static void collect(mp_shim_session *session, char *line, size_t len) {
  mp_shim_error err;
  char *rest;
  size_t rest_len;
  int result = 0;
  if (is_word(line, len, "spec", &rest, &rest_len))
    result = add_text(session, rest, rest_len, &err);
  else if (is_word(line, len, "run", &rest, &rest_len))
    result = start(session, &err);
  else
    result = mp_shim_fail(&err, "invalid", "`exec` wants lines of `spec`, and then `run`");
  if (result < 0)
    refuse(session, &err);
}

static void resize(const mp_shim_session *session, char *text, size_t len) {
  char copy[32] = "", *at;
  memcpy(copy, text, len < sizeof copy ? len : sizeof copy - 1);
  long rows = strtol(copy, &at, 10), columns = strtol(at, NULL, 10);
  bool fits = rows > 0 && rows <= UINT16_MAX && columns > 0 && columns <= UINT16_MAX;
  if (session->rows > 0 && fits)
    mp_shim_pty_resize(session->output[0].fd, (int)rows, (int)columns);
}

static void send_signal(const mp_shim_session *session, const char *text, size_t len) {
  char name[16] = "";
  memcpy(name, text, len < sizeof name ? len : sizeof name - 1);
  int signal = mp_shim_signal_number(name);
  if (signal > 0)
    signal_group(session, signal);
}

bool mp_shim_session_line(mp_shim_client *client, char *line, size_t len) {
  mp_shim_session *session = client->session;
  char *rest;
  size_t rest_len;
  if (session && session->pid == 0) {
    collect(session, line, len);
    return true;
  }
  if (is_word(line, len, "in", &rest, &rest_len)) {
    if (session)
      take_input(session, rest, rest_len);
  } else if (is_word(line, len, "eof", &rest, &rest_len)) {
    if (session) {
      session->input_ends = true;
      write_input(session);
    }
  } else if (is_word(line, len, "window", &rest, &rest_len)) {
    if (session)
      resize(session, rest, rest_len);
  } else if (is_word(line, len, "kill", &rest, &rest_len)) {
    if (session)
      send_signal(session, rest, rest_len);
  } else if (session) {
    mp_shim_client_error(client, "busy", "a command runs on this connection");
  } else {
    return false;
  }
  return true;
}

bool mp_shim_sessions_reaped(mp_shim_sessions *sessions, pid_t pid, int status) {
  mp_shim_session *session = sessions->first;
  while (session && (session->pid != pid || session->exited))
    session = session->next;
  if (session == NULL)
    return false;
  mp_shim_tree_forget(pid);
  session->exited = true;
  session->status = status;
  if (session->exec.fd >= 0)
    on_exec(&session->exec, EPOLLIN); /* the end of the process can be heard of before its pipe's */
  else if (session->client)
    after_exit(session);
  else
    free_session(session);
  return true;
}
