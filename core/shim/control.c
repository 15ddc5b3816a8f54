#include "control.h"

#include "clock.h"
#include "vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { RETRY_MS = 250, DOUBT_MS = 1000 };

/* By the time that a hang-up of a device is heard of, the next peer may have come, and its first
 * lines have been read. Its `hello` then forgets the last one. */
static bool has_peer(const mp_shim_client *client) {
  struct pollfd now = {.fd = client->source.fd};
  return poll(&now, 1, 0) == 0;
}

/* A device without a peer is ready (hung up) all the time: then we hear of changes only. Asking for
 * them again would be answered at once, so what is asked for already is left as it is. */
static void watch(mp_shim_client *client) {
  uint32_t events = client->out_len > 0 ? EPOLLOUT : 0;
  if (!client->eof && client->in_len < MP_SHIM_LINE_CAP)
    events |= EPOLLIN;
  if (client->device && !has_peer(client))
    events = EPOLLIN | EPOLLOUT | EPOLLET;
  if (events == client->watched)
    return;
  client->watched = events;
  mp_shim_loop_change(client->control->loop, &client->source, events);
}

/* The peer at the other end of a device went away, and with it what it asked for. */
static void forget_peer(mp_shim_client *client) {
  if (client->control->on_gone)
    client->control->on_gone(client);
  client->in_len = client->out_len = 0;
  client->discarding = client->held = client->subscribed = client->forgotten = false;
  client->waits_for = 0;
}

void mp_shim_client_forget(mp_shim_client *client) {
  size_t in_len = client->in_len; /* these lines are the new one's */
  forget_peer(client);
  client->in_len = in_len;
  mp_shim_client_send(client, "\n", 1);
}

static void let_go(mp_shim_client *client) {
  if (client->device)
    client->forgotten = true;
  else
    client->dead = true;
}

static void flush(mp_shim_client *client) {
  size_t sent = 0;
  while (sent < client->out_len) {
    ssize_t wrote = write(client->source.fd, client->out + sent, client->out_len - sent);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote < 0 && errno == EAGAIN)
      break;
    if (wrote < 0) {
      /* It listens no more; what it asked for before is still to be read and done. */
      client->mute = !client->device;
      client->out_len = sent = 0;
      break;
    }
    sent += (size_t)wrote;
  }
  client->out_len -= sent;
  if (client->out_len > 0) {
    memmove(client->out, client->out + sent, client->out_len);
    return;
  }
  free(client->out);
  client->out = NULL;
  client->out_cap = 0;
}

static bool make_room(mp_shim_client *client, size_t len) {
  size_t needed = client->out_len + len;
  if (client->out && needed <= client->out_cap)
    return true;
  if (needed > MP_SHIM_OUTPUT_MAX)
    return false;
  size_t cap = needed < 1024 ? 1024 : needed * 2;
  char *larger = realloc(client->out, cap);
  if (larger == NULL)
    return false;
  client->out = larger;
  client->out_cap = cap;
  return true;
}

void mp_shim_client_send(mp_shim_client *client, const char *text, size_t len) {
  if (client->dead || client->mute || client->forgotten)
    return;
  if (!make_room(client, len)) {
    let_go(client);
    return;
  }
  memcpy(client->out + client->out_len, text, len);
  client->out_len += len;
  flush(client);
  if (!client->dead)
    watch(client);
}

void mp_shim_client_ok(mp_shim_client *client, const char *text) {
  char *line = NULL;
  int len = asprintf(&line, "ok %s\n", text);
  if (len >= 0)
    mp_shim_client_send(client, line, (size_t)len);
  else
    let_go(client);
  free(line);
}

void mp_shim_client_error(mp_shim_client *client, const char *code, const char *message) {
  char line[sizeof((mp_shim_error *)0)->message + 64];
  int len = snprintf(line, sizeof line, "error %s %s\n", code, message);
  mp_shim_client_send(client, line, (size_t)len);
}

/* While a request is not answered, those after it wait. Not so a `hello` on a device: it is a new
 * peer's, who waits for no answer of the last one's. Drops what stands before it; false without. */
static bool skip_to_hello(mp_shim_client *client) {
  static const char hello[] = "hello";
  char *line = client->in, *end = client->in + client->in_len, *newline;
  while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
    if (strncmp(line, hello, sizeof hello - 1) == 0) {
      client->in_len = (size_t)(end - line);
      memmove(client->in, line, client->in_len);
      return true;
    }
    line = newline + 1;
  }
  return false;
}

/* Hands out the next whole line. False when there is none, or the client is held. */
static bool take_line(mp_shim_client *client) {
  if (client->dead || (client->held && !(client->device && skip_to_hello(client))))
    return false;
  char *newline = memchr(client->in, '\n', client->in_len);
  if (newline == NULL) {
    if (client->in_len < MP_SHIM_LINE_CAP)
      return false;
    if (!client->discarding)
      mp_shim_client_error(client, "too-long", "a request is longer than 1023 bytes");
    client->discarding = true;
    client->in_len = 0;
    return true;
  }
  /* The handler may write into the line, and other lines stand behind it. */
  char line[MP_SHIM_LINE_CAP];
  size_t len = (size_t)(newline - client->in);
  memcpy(line, client->in, len);
  client->in_len -= len + 1;
  memmove(client->in, newline + 1, client->in_len);
  bool skip = client->discarding || len == 0 || (len == 1 && line[0] == '\r');
  client->discarding = false;
  if (!skip)
    client->control->on_line(client, line, len);
  return true;
}

/* True when bytes came or the end of them, so there may be more to do. */
static bool fill_in(mp_shim_client *client) {
  if (client->eof || client->dead || client->in_len == MP_SHIM_LINE_CAP)
    return false;
  ssize_t got =
      read(client->source.fd, client->in + client->in_len, MP_SHIM_LINE_CAP - client->in_len);
  if (got > 0) {
    client->in_len += (size_t)got;
    client->heard = true;
    return true;
  }
  if (client->device || (got < 0 && (errno == EAGAIN || errno == EINTR)))
    return false;
  if (got == 0)
    client->eof = true;
  else
    client->dead = true;
  return false;
}

static void serve(mp_shim_client *client) {
  do {
    while (take_line(client))
      continue;
  } while (fill_in(client));
  /* Who half-closed its end still gets every answer that is due. */
  bool owes = client->held || client->subscribed || client->session || client->out_len > 0;
  if (client->eof && !owes)
    client->dead = true;
  if (!client->dead)
    watch(client);
}

void mp_shim_client_release(mp_shim_client *client) {
  client->held = false;
  client->waits_for = 0;
  serve(client);
}

static void lose_peer(mp_shim_client *client) {
  client->doubtful = false;
  forget_peer(client);
  watch(client);
}

static void on_doubt(mp_shim_timer *timer) {
  mp_shim_control *control = timer->owner;
  for (mp_shim_client *client = control->clients; client; client = client->next)
    if (client->doubtful && !has_peer(client))
      lose_peer(client);
    else
      client->doubtful = false;
}

/* Who said something and is not there has left at once, and what it asked for is void; or it has
 * just come, and its lines are here before it is told that there is somebody. Time tells. */
static void look_for_peer(mp_shim_client *client) {
  mp_shim_control *control = client->control;
  bool there = has_peer(client);
  if (!there && !client->heard && !client->doubtful) {
    lose_peer(client);
    return;
  }
  client->doubtful = !there;
  if (!there && control->doubt.at == 0)
    control->doubt.at = mp_shim_now_ms() + DOUBT_MS;
}

static void on_client(mp_shim_source *source, uint32_t events) {
  mp_shim_client *client = source->owner;
  bool hung_up = events & (EPOLLHUP | EPOLLERR);
  if (events & EPOLLOUT)
    flush(client);
  if (events & EPOLLOUT && client->out_len == 0 && client->control->on_drained)
    client->control->on_drained(client);
  client->heard = false;
  serve(client); /* also after a hang-up: what was asked for before it is done */
  if (hung_up && !client->device)
    client->dead = true;
  if (client->device)
    look_for_peer(client);
}

static mp_shim_client *add_client(mp_shim_control *control, int fd, bool device) {
  mp_shim_client *client = calloc(1, sizeof *client);
  if (client == NULL)
    return NULL;
  client->control = control;
  client->device = device;
  client->source = (mp_shim_source){.fd = fd, .on_ready = on_client, .owner = client};
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  client->watched = EPOLLIN;
  if (mp_shim_loop_add(control->loop, &client->source, client->watched) < 0) {
    free(client);
    return NULL;
  }
  if (device && control->doubt.on_due == NULL) {
    control->doubt = (mp_shim_timer){.on_due = on_doubt, .owner = control};
    mp_shim_loop_add_timer(control->loop, &control->doubt);
  }
  client->next = control->clients;
  control->clients = client;
  control->client_count++;
  return client;
}

/* Our own user and root may command, and to a guest its host; on other kinds of socket their owner
 * decided. */
static bool may_command(int fd) {
  struct sockaddr_storage address = {0};
  socklen_t len = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
    return true;
  if (mp_shim_vsock_is(address.ss_family))
    return mp_shim_vsock_from_host(fd);
  if (address.ss_family != AF_UNIX)
    return true;
  struct ucred peer;
  len = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
         (peer.uid == 0 || peer.uid == geteuid());
}

static void refuse(int fd, const char *line) {
  ssize_t ignored = write(fd, line, strlen(line));
  (void)ignored;
  close(fd);
}

static void on_retry(mp_shim_timer *timer) {
  mp_shim_control *control = timer->owner;
  if (control->listener.fd >= 0)
    mp_shim_loop_change(control->loop, &control->listener, EPOLLIN);
}

/* Out of descriptors: the connection stays where it is, and would wake us again at once. */
static void pause_listening(mp_shim_control *control) {
  mp_shim_loop_change(control->loop, &control->listener, 0);
  control->retry.at = mp_shim_now_ms() + RETRY_MS;
}

static void on_connection(mp_shim_source *source, uint32_t events) {
  mp_shim_control *control = source->owner;
  (void)events;
  int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
      pause_listening(control);
    return;
  }
  if (!may_command(fd)) {
    refuse(fd, "error denied only the service's owner and root may command it\n");
    return;
  }
  mp_shim_client *client =
      control->client_count < MP_SHIM_CLIENTS_MAX ? add_client(control, fd, false) : NULL;
  if (client == NULL)
    refuse(fd, "error busy too many clients\n");
  else
    mp_shim_client_send(client, control->greeting, strlen(control->greeting));
}

static int start_listening(mp_shim_control *control, int fd, mp_shim_error *err) {
  control->listener = (mp_shim_source){.fd = fd, .on_ready = on_connection, .owner = control};
  control->retry = (mp_shim_timer){.on_due = on_retry, .owner = control};
  mp_shim_loop_add_timer(control->loop, &control->retry);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  if (mp_shim_loop_add(control->loop, &control->listener, EPOLLIN) < 0)
    return mp_shim_fail_errno(err, errno, "could not wait on the control socket");
  return 0;
}

static int adopt_client(mp_shim_control *control, int fd, bool device, mp_shim_error *err) {
  mp_shim_client *client = add_client(control, fd, device);
  if (client == NULL)
    return mp_shim_fail_errno(err, errno, "could not wait on control fd %d", fd);
  /* Who is at the other end of a device already spoke to another one, before a reboot. */
  if (device)
    mp_shim_client_send(client, "\n", 1);
  mp_shim_client_send(client, control->greeting, strlen(control->greeting));
  return 0;
}

int mp_shim_control_adopt(mp_shim_control *control, int fd, mp_shim_error *err) {
  int listening = 0;
  socklen_t len = sizeof listening;
  struct stat info;
  control->listener.fd = -1;
  if (fstat(fd, &info) < 0)
    return mp_shim_fail_errno(err, errno, "control fd %d", fd);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening)
    return start_listening(control, fd, err);
  return adopt_client(control, fd, S_ISCHR(info.st_mode), err);
}

int mp_shim_control_adopt_device(mp_shim_control *control, int fd, mp_shim_error *err) {
  return adopt_client(control, fd, true, err);
}

/* Somebody listens there, or the file is no socket: then it is not ours to remove. */
static int remove_stale(const struct sockaddr_un *address, mp_shim_error *err) {
  struct stat info;
  if (lstat(address->sun_path, &info) < 0)
    return 0;
  if (!S_ISSOCK(info.st_mode))
    return mp_shim_fail(err, "EEXIST", "`%s` exists and is no socket", address->sun_path);
  int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  bool alive = connect(probe, (const struct sockaddr *)address, sizeof *address) == 0 ||
               errno != ECONNREFUSED;
  close(probe);
  if (alive)
    return mp_shim_fail(err, "EADDRINUSE", "somebody listens on the socket `%s` already",
                        address->sun_path);
  unlink(address->sun_path);
  return 0;
}

static int bind_private(int fd, const struct sockaddr_un *address) {
  mode_t before = umask(0177);
  int result = bind(fd, (const struct sockaddr *)address, sizeof *address);
  umask(before);
  return result;
}

int mp_shim_control_listen(mp_shim_control *control, const char *path, mp_shim_error *err) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct stat info;
  control->listener.fd = -1;
  if (strlen(path) >= sizeof address.sun_path)
    return mp_shim_fail(err, "ENAMETOOLONG",
                        "the socket path `%s` has %zu bytes, a socket address holds %zu", path,
                        strlen(path), sizeof address.sun_path - 1);
  strcpy(address.sun_path, path);
  if (remove_stale(&address, err) < 0)
    return -1;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return mp_shim_fail_errno(err, errno, "could not make a socket");
  if (bind_private(fd, &address) < 0) {
    int why = errno;
    close(fd);
    return mp_shim_fail_errno(err, why, "could not make the socket `%s`", path);
  }
  control->path = strdup(path);
  if (stat(path, &info) == 0) {
    control->path_dev = info.st_dev;
    control->path_ino = info.st_ino;
  }
  listen(fd, 16);
  return start_listening(control, fd, err);
}

void mp_shim_control_sweep(mp_shim_control *control) {
  mp_shim_client **link = &control->clients;
  while (*link) {
    mp_shim_client *client = *link;
    if (client->forgotten)
      forget_peer(client);
    if (!client->dead) {
      link = &client->next;
      continue;
    }
    *link = client->next;
    if (control->on_gone)
      control->on_gone(client);
    /* Removed by hand: a child between fork and exec may still have a copy of the fd. */
    mp_shim_loop_remove(control->loop, &client->source);
    close(client->source.fd);
    free(client->out);
    free(client);
    control->client_count--;
  }
}

bool mp_shim_control_pending(const mp_shim_control *control) {
  for (const mp_shim_client *client = control->clients; client; client = client->next)
    if (client->out_len > 0 && !client->dead)
      return true;
  return false;
}

void mp_shim_control_stop_listening(mp_shim_control *control) {
  struct stat info;
  if (control->path && lstat(control->path, &info) == 0 && info.st_dev == control->path_dev &&
      info.st_ino == control->path_ino)
    unlink(control->path);
  free(control->path);
  control->path = NULL;
  if (control->listener.fd < 0)
    return;
  mp_shim_loop_remove(control->loop, &control->listener);
  close(control->listener.fd);
  control->listener.fd = -1;
}

void mp_shim_control_close(mp_shim_control *control) {
  mp_shim_control_stop_listening(control);
  for (mp_shim_client *client = control->clients; client; client = client->next)
    client->dead = true;
  mp_shim_control_sweep(control);
}
