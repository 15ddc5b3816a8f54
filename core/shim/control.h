/* The transport of the control protocol: a Unix socket at a path, or an fd given by whoever started
 * the shim: a listening socket, a connected one, or a character device (virtio-serial in a guest).
 * It carries lines both ways and knows nothing of their meaning, but for the `hello` with which a
 * device's next peer begins. No client can block it: what one does not read is kept up to a limit,
 * then that client is let go. */
#ifndef MP_SHIM_CONTROL_H
#define MP_SHIM_CONTROL_H

#include "loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
  MP_SHIM_LINE_CAP = 1024,        /* longest request, newline included */
  MP_SHIM_OUTPUT_MAX = 64 * 1024, /* unread bytes kept for one client */
  MP_SHIM_CLIENTS_MAX = 32,
};

typedef struct mp_shim_control mp_shim_control;
typedef struct mp_shim_client mp_shim_client;

struct mp_shim_client {
  mp_shim_client *next;
  mp_shim_control *control;
  mp_shim_source source;
  uint32_t watched;   /* what epoll was asked for */
  bool device;        /* outlives the peers that come and go at its other end */
  bool heard;         /* something came in this turn */
  bool doubtful;      /* a device that said something while nobody is there */
  bool eof;           /* no more requests will come */
  bool mute;          /* it takes no more answers */
  bool forgotten;     /* a device whose peer is let go: by the next sweep */
  bool dead;          /* to be freed by the next sweep */
  bool discarding;    /* a line that was too long, until its newline */
  bool held;          /* its next request, but a hello, waits: this one is not answered yet */
  int waits_for;      /* the owner's, 0 at first */
  int64_t wait_until; /* the owner's */
  bool subscribed;    /* the owner's, false at first */
  void *session;      /* the owner's, NULL at first */
  size_t in_len;
  size_t out_len;
  size_t out_cap;
  char *out; /* owned */
  char in[MP_SHIM_LINE_CAP];
};

struct mp_shim_control {
  mp_shim_loop *loop;
  mp_shim_source listener; /* fd -1: there is none */
  mp_shim_timer retry;     /* listens again, after there were no descriptors */
  mp_shim_timer doubt;     /* looks again whether somebody is at the devices that are doubtful */
  mp_shim_client *clients;
  int client_count;
  char *path; /* owned; of the socket that this made, NULL without */
  dev_t path_dev;
  ino_t path_ino;
  const char *greeting; /* borrowed: the line a new connection is sent, with its newline */
  /* One request, `len` bytes without newline; the byte behind them may be written. */
  void (*on_line)(mp_shim_client *client, char *line, size_t len);
  /* The peer has gone, and what it asked for is void. A device may get another one. May be NULL. */
  void (*on_gone)(mp_shim_client *client);
  /* The client has taken all that was kept for it. May be NULL. */
  void (*on_drained)(mp_shim_client *client);
  void *owner;
};

/* Fill in loop, greeting, on_line and owner, and then: */

/* Makes a socket of mode 0600 at an absolute path. A socket that nobody listens on is replaced; one
 * that somebody does, or another kind of file, is an error ("EADDRINUSE", "EEXIST"), as is a path
 * that a socket address cannot hold ("ENAMETOOLONG"). */
int mp_shim_control_listen(mp_shim_control *control, const char *path, mp_shim_error *err);

/* Takes over an fd. One that listens becomes the only listener; others are clients, as many as
 * there is room for. */
int mp_shim_control_adopt(mp_shim_control *control, int fd, mp_shim_error *err);

/* Takes over an fd that outlives the peers at its other end, whatever it is; closed on exec
 * already. */
int mp_shim_control_adopt_device(mp_shim_control *control, int fd, mp_shim_error *err);

/* Takes no new connections, and removes the socket if it is still the one made. */
void mp_shim_control_stop_listening(mp_shim_control *control);

/* That, and lets all clients go. */
void mp_shim_control_close(mp_shim_control *control);

/* Sends text as it is; it should end with a newline. */
void mp_shim_client_send(mp_shim_client *client, const char *text, size_t len);

/* `ok TEXT`, and `error CODE MESSAGE`. */
void mp_shim_client_ok(mp_shim_client *client, const char *text);
void mp_shim_client_error(mp_shim_client *client, const char *code, const char *message);

/* What a device's last peer asked for is void: another one has come. Ends a line that may have been
 * sent in part. */
void mp_shim_client_forget(mp_shim_client *client);

/* Goes on with a held client's next requests. */
void mp_shim_client_release(mp_shim_client *client);

/* Lets go of the clients that are gone; call between two turns of the loop. */
void mp_shim_control_sweep(mp_shim_control *control);

/* Whether any client has output that it did not take yet. */
bool mp_shim_control_pending(const mp_shim_control *control);

#endif
