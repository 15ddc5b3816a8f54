/* What a service tells of itself, as sd_notify(3) has it: datagrams of lines NAME=VALUE, sent to
 * the socket that NOTIFY_SOCKET names in its environment. */
#ifndef MP_SHIM_NOTIFY_H
#define MP_SHIM_NOTIFY_H

#include "spec.h"

enum {
  MP_SHIM_NOTICE_MAX = 4096, /* bytes of a datagram; of a longer one nothing is obeyed */
  MP_SHIM_TELLS_CAP = 256,   /* of a STATUS, NUL included; the rest is cut off */
};

/* The words of one datagram that mean something here; others are passed over. */
typedef struct {
  bool ready;                   /* READY=1 */
  bool stopping;                /* STOPPING=1 */
  bool has_text;                /* STATUS=... */
  char text[MP_SHIM_TELLS_CAP]; /* a control character has become a blank */
} mp_shim_notice;

/* Binds the socket at `spec->notify`, for the service's user; a stale one is replaced. Returns its
 * fd, non-blocking, or -1: "ENAMETOOLONG", "EEXIST" for another kind of file, errno names. */
int mp_shim_notify_open(const mp_shim_spec *spec, mp_shim_error *err);

/* Reads one datagram and hands it on together with its sender, as the kernel knows that. False when
 * none waits. The fds that came with it are closed after that: who sent one (BARRIER=1) hears by
 * that when it has been read. */
bool mp_shim_notify_read(int fd,
                         void (*on_notice)(void *owner, pid_t sender, mp_shim_notice *notice),
                         void *owner);

/* Parses the text of a datagram. Changes it. */
void mp_shim_notice_parse(char *text, mp_shim_notice *notice);

#endif
