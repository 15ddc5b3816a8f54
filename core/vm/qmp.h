/* A connection to QEMU through the QEMU Machine Protocol, over a Unix socket.
 *
 * QEMU serves one client of a socket at a time: another one's connection waits, without a greeting,
 * until the first has gone. Answers come in the order of the commands; events come between them.
 *
 * Everything runs on the loop's thread. Operations follow core/op.h. Error domains: "net" for the
 * socket, "qmp" for the rest, with the codes MP_PROTOCOL, MP_LIMIT (a message over
 * MP_QMP_LINE_MAX), "closed", "busy", and those of mp_qmp_failure. After an error other than a
 * refused command the connection is of no more use. */
#ifndef MP_CORE_VM_QMP_H
#define MP_CORE_VM_QMP_H

#include "core/loop.h"

#include <stddef.h>

typedef struct mp_qmp mp_qmp;

enum {
  MP_QMP_LINE_MAX = 8 * 1024 * 1024, /* bytes of a message; the largest known has 200 KiB */
  MP_QMP_EVENTS_MAX = 1024,          /* events that wait here to be asked for */
  MP_QMP_EVENT_MAX = 64 * 1024,      /* bytes of an event's data; a larger one is lost */
};

/* qmp: the callback's, ready for commands; NULL on error. */
typedef void (*mp_qmp_connect_cb)(void *data, mp_qmp *qmp, const mp_error *err);

/* Connects, reads the greeting and leaves capability negotiation. Without a time limit of its own:
 * cancel it. path: copied. */
int mp_qmp_connect(mp_loop *loop, const char *path, mp_qmp_connect_cb cb, void *data, mp_op **op,
                   mp_error *err);

/* The greeting's JSON: {"version": {"qemu": {...}, "package"}, "capabilities"}. */
const char *mp_qmp_greeting(const mp_qmp *qmp);

/* json: what the command returned, not ended by a NUL, valid until the callback returns. */
typedef void (*mp_qmp_answer_cb)(void *data, const char *json, size_t len, const mp_error *err);

/* Sends a command. arguments: the text of a JSON object, or NULL; it must have no newline in it,
 * which JSON does not need. fd: sent along (`getfd`, `add-fd`), or -1; stays the caller's. A
 * cancelled command is carried out all the same; its answer is dropped. */
int mp_qmp_execute(mp_qmp *qmp, const char *command, const char *arguments, int fd,
                   mp_qmp_answer_cb cb, void *data, mp_op **op, mp_error *err);

/* Valid until the callback returns. */
typedef struct {
  const char *name; /* "LOST": events came faster than they were asked for; some are missing here */
  const char *data; /* JSON, "" where the event has none */
  double time;      /* seconds since the epoch */
} mp_qmp_event;

typedef void (*mp_qmp_event_cb)(void *data, const mp_qmp_event *event, const mp_error *err);

/* The next event since the connection was made. One operation at a time. */
int mp_qmp_next_event(mp_qmp *qmp, mp_qmp_event_cb cb, void *data, mp_op **op, mp_error *err);

/* Closes. Operations under way end with MP_CANCELLED, later. Accepts NULL. */
void mp_qmp_close(mp_qmp *qmp);

#endif
