/* What the files of the QMP connection share. */
#ifndef MP_CORE_VM_QMP_INTERNAL_H
#define MP_CORE_VM_QMP_INTERNAL_H

#include "core/lines.h"
#include "core/stream.h"
#include "qmp.h"
#include "qmp_message.h"

/* A command under way, in the order in which they were sent. Cancelled ones stay until their answer
 * comes, without a callback. */
typedef struct command {
  mp_op op;
  mp_qmp *qmp;
  uint64_t id;
  char *name;
  mp_qmp_answer_cb cb; /* NULL once called */
  void *data;
  bool cancelled;
  struct command *next;
} command;

typedef struct event {
  char *name, *data;
  double time;
  struct event *next;
} event;

typedef struct {
  mp_op op;
  bool active, cancelled;
  mp_qmp_event_cb cb;
  void *data;
} event_wait;

struct mp_qmp {
  mp_loop *loop;
  mp_stream *stream; /* NULL once it is closed */
  int refs;          /* the owner's, one for each callback of others that is to come */
  bool closed;       /* by its owner */
  bool delayed;      /* a turn is due */
  mp_error broken;   /* why it is of no more use */
  mp_lines input;
  char *greeting;

  command *first, **last; /* commands */
  uint64_t sent;
  unsigned writes; /* that the kernel has not taken whole */

  event *events, **last_event;
  size_t event_count;
  bool lost;
  event_wait waiter;

  /* While connecting: */
  void (*on_greeting)(mp_qmp *qmp, void *data); /* also when it broke before */
  void *on_greeting_data;
};

mp_qmp *mp_qmp_new_(mp_loop *loop, mp_stream *stream);
void mp_qmp_release_(mp_qmp *qmp);

#endif
