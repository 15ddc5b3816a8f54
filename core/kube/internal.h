/* What the files of the client share.
 *
 *   client.c       open, close, filling in requests
 *   send.c         one exchange, with its second try
 *   credentials.c  who waits for credentials, and what is done to get them
 *   sources.c      files that are read again when they change
 *   plugin.c       running an exec plugin
 *   exec_credential.c  what it is told and answers
 *   lifetime.c     until when certificates and tokens are valid
 *   explain_error.c  hints */
#ifndef MP_CORE_KUBE_INTERNAL_H
#define MP_CORE_KUBE_INTERNAL_H

#include "client.h"
#include "exec_credential.h"
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

struct sending; /* of send.c */

struct mp_kube {
  mp_loop *loop;
  mp_kube_config *config;
  unsigned refs; /* the owner, waiters, exchanges, work under way */
  bool closed;

  /* the credentials */
  mp_kube_sources sources;
  unsigned round;
  mp_kube_value authorization;    /* the header's value; wiped */
  mp_kube_exec_credential issued; /* by the plugin, at `issued_at` (seconds since 1970) */
  int64_t issued_at;
  bool has_issued, refused; /* refused: the server did not take them */

  /* getting them */
  TAILQ_HEAD(mp_kube_waiters, waiter) waiters;
  mp_op *kick;         /* the next turn of the loop looks at the waiters */
  mp_op *work;         /* files are being read */
  uint64_t checked_at; /* when the files were looked at last, in loop time */
  bool was_checked;
  mp_op *plugin;           /* is running */
  uint64_t ran_at;         /* when it ended last, in loop time */
  bool has_run, came_same; /* came_same: a refused credential came again */
  bool (*stdin_is_free)(void);

  /* exchanges */
  unsigned at_once;                         /* that wait for their answers */
  TAILQ_HEAD(mp_kube_queue, sending) queue; /* that wait for their turn */

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
