/* What the files of the client share.
 *
 *   client.c       open, close, filling in requests
 *   send.c         one exchange, with its second try
 *   credentials.c  who waits for credentials, and what is done to get them
 *   sources.c      files that are read again when they change
 *   explain_error.c  hints */
#ifndef MP_CORE_KUBE_INTERNAL_H
#define MP_CORE_KUBE_INTERNAL_H

#include "client.h"
#include "sources.h"

#include <sys/queue.h>

typedef struct waiter {
  mp_op op; /* first */
  mp_kube *kube;
  mp_kube_cb cb;
  void *data;
  bool cancelled;
  TAILQ_ENTRY(waiter) link;
} mp_kube_waiter;

struct mp_kube {
  mp_loop *loop;
  mp_kube_config *config;
  unsigned refs; /* the owner, waiters, exchanges, work under way */
  bool closed;

  /* the credentials */
  mp_kube_sources sources;
  unsigned round;
  mp_kube_value authorization; /* the header's value; wiped */

  /* getting them */
  TAILQ_HEAD(mp_kube_waiters, waiter) waiters;
  mp_op *kick;         /* the next turn of the loop looks at the waiters */
  mp_op *work;         /* files are being read */
  uint64_t checked_at; /* when the files were looked at last, in loop time */
  bool was_checked;

  /* what mp_kube_fill gives out */
  mp_buf url;
  mp_http_header *headers;
  size_t header_room;
  char **extra_names; /* "Impersonate-Extra-..." of each extra field */
  char *proxy;        /* NULL: none is configured */
};

void mp_kube_unref(mp_kube *kube);

/* client.c */
char *mp_kube_extra_header(const char *name);

/* credentials.c */
void mp_kube_kick(mp_kube *kube);

#endif
