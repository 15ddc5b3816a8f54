/* Commands that clients run beside the service: `exec`. One at a time for each client; its input,
 * output and end travel as lines on the client's connection, format in shim.h. A client that does
 * not read holds its command up, and nothing else; one that goes away hangs its command up. */
#ifndef MP_SHIM_SESSION_H
#define MP_SHIM_SESSION_H

#include "control.h"
#include "protocol.h"
#include "spec.h"

#include <stdbool.h>

typedef struct mp_shim_session mp_shim_session;

typedef struct {
  mp_shim_loop *loop;
  const mp_shim_spec *service; /* borrowed: what a command has in common with it */
  const struct rlimit *core;   /* borrowed */
  mp_shim_session *first;
  size_t count;
  mp_shim_timer timer; /* the next rung of a hang-up, or the end of a drain */
} mp_shim_sessions;

/* Fill in loop, service and core, and then: */
void mp_shim_sessions_init(mp_shim_sessions *sessions);

/* Carries out `exec`: further lines of the client are the session's. */
void mp_shim_session_begin(mp_shim_sessions *sessions, mp_shim_client *client,
                           const mp_shim_request *request);

/* A line of the client. False when it is none of a session's. Lines that were on their way when a
 * command ended are taken, and ignored. */
bool mp_shim_session_line(mp_shim_client *client, char *line, size_t len);

/* A child was waited for. False when it is no session's. */
bool mp_shim_sessions_reaped(mp_shim_sessions *sessions, pid_t pid, int status);

/* The client went away, or took what was kept for it. */
void mp_shim_session_gone(mp_shim_client *client);
void mp_shim_session_drained(mp_shim_client *client);

#endif
