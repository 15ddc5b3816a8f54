/* Messages of the QEMU Machine Protocol, one JSON object a line, taken apart without copying.
 *
 * Only the envelope is looked at: which kind of message, the id, where its parts stand. A part is
 * the text of a JSON value whose strings and brackets have been followed to their end; whoever
 * decodes it finds what else may be wrong in it. QEMU's docs/interop/qmp-spec.rst. Any thread.
 * Error domain: "qmp". */
#ifndef MP_CORE_VM_QMP_MESSAGE_H
#define MP_CORE_VM_QMP_MESSAGE_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_QMP "qmp"

/* A part of the line; not ended by a NUL. */
typedef struct {
  const char *text; /* NULL: there is none */
  size_t len;
} mp_qmp_part;

typedef enum {
  MP_QMP_GREETING, /* body: the value of "QMP" */
  MP_QMP_ANSWER,   /* body: of "return" */
  MP_QMP_FAILURE,  /* body: of "error" */
  MP_QMP_EVENT,    /* body: of "data", may be none; name: of "event" */
} mp_qmp_kind;

typedef struct {
  mp_qmp_kind kind;
  mp_qmp_part body;
  mp_qmp_part name; /* without its quotes: letters, digits and `_` */
  bool has_id;
  uint64_t id;
  double time; /* of an event, seconds since the epoch; 0 where it says none */
} mp_qmp_message;

/* Takes a line apart. Fails with MP_PROTOCOL. */
int mp_qmp_parse(const char *line, size_t len, mp_qmp_message *message, mp_error *err);

/* The member of an object that has this plain name; none where there is none, or no object. */
mp_qmp_part mp_qmp_member(mp_qmp_part object, const char *name);

/* The text of a JSON string, owned by the caller; NULL where it is none. What would end a C string
 * is left out. */
char *mp_qmp_string(mp_qmp_part value);

/* Fills *err from the object of a failure: domain "qmp", code "refused", or "not-found" and
 * "unknown-command" for those two classes. Returns -1. */
int mp_qmp_failure(mp_qmp_part error, const char *command, mp_error *err);

#endif
