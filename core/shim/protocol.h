/* The requests of the control protocol: parsing, apart from any transport. Format in shim.h. */
#ifndef MP_SHIM_PROTOCOL_H
#define MP_SHIM_PROTOCOL_H

#include "error.h"
#include "probe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  MP_SHIM_HELLO,
  MP_SHIM_VERSION_REQUEST,
  MP_SHIM_STATUS,
  MP_SHIM_SIGNAL,
  MP_SHIM_STOP,
  MP_SHIM_START,
  MP_SHIM_RESTART_REQUEST,
  MP_SHIM_WAIT,
  MP_SHIM_EVENTS,
  MP_SHIM_SHUTDOWN,
  MP_SHIM_NETWORK,
  MP_SHIM_PROBE,
  MP_SHIM_EXEC,
} mp_shim_verb;

typedef struct {
  mp_shim_verb verb;
  int signal;       /* 0: not given */
  int64_t grace_ms; /* -1: not given */
  int64_t wait_ms;  /* of `network`; 0: answer at once */
  int rows;         /* of `exec`; 0: no terminal */
  int columns;
  bool input; /* of `exec`: it gets standard input */
  mp_shim_probe probe;
  const char *nonce; /* of `hello`, in the line; NULL: not given */
} mp_shim_request;

/* Parses one line, without its newline; a final CR is ignored. Changes the line. Codes:
 * "unknown-request", "invalid". */
int mp_shim_request_parse(char *line, size_t len, mp_shim_request *request, mp_shim_error *err);

#endif
