/* What each request of the control protocol does. */
#include "supervise.h"

#include "protocol.h"
#include "shim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The record as it is now. Static, and overwritten by the next call. */
static const char *state_text(mp_shim_supervisor *sup) {
  static char text[MP_SHIM_STATE_MAX];
  mp_shim_refresh(sup);
  mp_shim_state_format(&sup->state, text);
  return text;
}

static void hold(mp_shim_client *client, int waits_for) {
  client->held = true;
  client->waits_for = waits_for;
}

static void do_version(mp_shim_client *client) {
  char text[128];
  snprintf(text, sizeof text, "{\"version\":\"%s\",\"protocol\":%d,\"pid\":%d}", MP_SHIM_VERSION,
           MP_SHIM_PROTOCOL, (int)getpid());
  mp_shim_client_ok(client, text);
}

static void do_signal(mp_shim_supervisor *sup, mp_shim_client *client, int signal) {
  if (sup->phase != MP_SHIM_UP)
    mp_shim_client_error(client, "not-running", "the service does not run");
  else if (mp_shim_service_signal(&sup->service, signal) < 0)
    mp_shim_client_error(client, mp_shim_errno_name(errno), strerror(errno));
  else
    mp_shim_client_ok(client, state_text(sup));
}

static void do_stop(mp_shim_supervisor *sup, mp_shim_client *client,
                    const mp_shim_request *request) {
  int signal = request->signal ? request->signal : sup->spec->stop_signal;
  int64_t grace_ms = request->grace_ms >= 0 ? request->grace_ms : sup->spec->stop_grace_ms;
  bool shutdown = request->verb == MP_SHIM_SHUTDOWN;
  bool ended = mp_shim_state_ended(&sup->state);
  if (shutdown)
    sup->options.stay = false;
  if (ended && sup->state.wanted) {
    sup->state.wanted = false;
    mp_shim_publish(sup);
  }
  sup->state.wanted = false;
  if (!ended) {
    hold(client, MP_SHIM_FOR_END);
    mp_shim_ask_to_end(sup, MP_SHIM_GOAL_STOP, signal, grace_ms);
    return;
  }
  if (shutdown)
    mp_shim_leave(sup);
  mp_shim_client_ok(client, state_text(sup));
}

static bool can_start(mp_shim_supervisor *sup, mp_shim_client *client) {
  if (sup->leaving)
    mp_shim_client_error(client, "ended", "the service has ended for good: run a new shim");
  else if (sup->phase != MP_SHIM_IDLE && sup->goal >= MP_SHIM_GOAL_STOP)
    mp_shim_client_error(client, "busy", "the service is being stopped");
  else
    return true;
  return false;
}

static void do_start(mp_shim_supervisor *sup, mp_shim_client *client) {
  if (!can_start(sup, client))
    return;
  sup->state.wanted = true;
  if (sup->state.status == MP_SHIM_RUNNING) {
    mp_shim_client_ok(client, state_text(sup));
    return;
  }
  hold(client, MP_SHIM_FOR_START);
  if (sup->phase == MP_SHIM_IDLE)
    mp_shim_ask_to_end(sup, MP_SHIM_GOAL_RESTART, 0, 0);
  else if (sup->phase == MP_SHIM_CLEARING)
    sup->goal = MP_SHIM_GOAL_RESTART; /* no policy, no backoff: somebody wants it now */
}

static void do_restart(mp_shim_supervisor *sup, mp_shim_client *client,
                       const mp_shim_request *request) {
  if (!can_start(sup, client))
    return;
  sup->state.wanted = true;
  hold(client, MP_SHIM_FOR_START);
  mp_shim_ask_to_end(sup, MP_SHIM_GOAL_RESTART,
                     request->signal ? request->signal : sup->spec->stop_signal,
                     request->grace_ms >= 0 ? request->grace_ms : sup->spec->stop_grace_ms);
}

static void do_wait(mp_shim_supervisor *sup, mp_shim_client *client) {
  if (mp_shim_state_ended(&sup->state))
    mp_shim_client_ok(client, state_text(sup));
  else
    hold(client, MP_SHIM_FOR_END);
}

/* On a device another one may have taken the last peer's place unnoticed, even in the middle of a
 * command. The word that only the new one knows tells it where its answers begin. */
static void do_hello(mp_shim_client *client, const char *nonce) {
  char line[128];
  int len = snprintf(line, sizeof line, "%.*s%s%s\n", (int)strcspn(MP_SHIM_GREETING, "\n"),
                     MP_SHIM_GREETING, nonce ? " " : "", nonce ? nonce : "");
  if (client->device)
    mp_shim_client_forget(client);
  mp_shim_client_send(client, line, (size_t)len);
}

static void do_exec(mp_shim_supervisor *sup, mp_shim_client *client,
                    const mp_shim_request *request) {
  if (sup->leaving)
    mp_shim_client_error(client, "ended", "the shim is about to exit");
  else
    mp_shim_session_begin(&sup->sessions, client, request);
}

static void do_probe(mp_shim_client *client, const mp_shim_probe *probe) {
  mp_shim_error err;
  if (mp_shim_probe_send(probe, &err) < 0)
    mp_shim_client_error(client, err.code, err.message);
  else
    mp_shim_client_ok(client, "{}");
}

void mp_shim_on_request(mp_shim_client *client, char *line, size_t len) {
  mp_shim_supervisor *sup = client->control->owner;
  mp_shim_request request;
  mp_shim_error err;
  bool is_hello = client->device && len >= 5 && memcmp(line, "hello", 5) == 0;
  if (!is_hello && mp_shim_session_line(client, line, len))
    return;
  if (mp_shim_request_parse(line, len, &request, &err) < 0) {
    mp_shim_client_error(client, err.code, err.message);
    return;
  }
  switch (request.verb) {
  case MP_SHIM_HELLO:
    do_hello(client, request.nonce);
    break;
  case MP_SHIM_EXEC:
    do_exec(sup, client, &request);
    break;
  case MP_SHIM_NETWORK:
    mp_shim_network_ask(&sup->network, client, request.wait_ms);
    break;
  case MP_SHIM_PROBE:
    do_probe(client, &request.probe);
    break;
  case MP_SHIM_VERSION_REQUEST:
    do_version(client);
    break;
  case MP_SHIM_STATUS:
    mp_shim_client_ok(client, state_text(sup));
    break;
  case MP_SHIM_SIGNAL:
    do_signal(sup, client, request.signal);
    break;
  case MP_SHIM_STOP:
  case MP_SHIM_SHUTDOWN:
    do_stop(sup, client, &request);
    break;
  case MP_SHIM_START:
    do_start(sup, client);
    break;
  case MP_SHIM_RESTART_REQUEST:
    do_restart(sup, client, &request);
    break;
  case MP_SHIM_WAIT:
    do_wait(sup, client);
    break;
  case MP_SHIM_EVENTS:
    mp_shim_client_ok(client, state_text(sup));
    client->subscribed = true;
    break;
  }
}

/* Answers whoever waits for `what`: `ok` and the record, or an error when `code` is given. */
static void answer(mp_shim_supervisor *sup, int what, const char *code, const char *message) {
  for (mp_shim_client *client = sup->control.clients; client; client = client->next) {
    if (client->dead || client->waits_for != what)
      continue;
    if (code)
      mp_shim_client_error(client, code, message);
    else
      mp_shim_client_ok(client, state_text(sup));
    mp_shim_client_release(client);
  }
}

void mp_shim_deliver(mp_shim_supervisor *sup) {
  while (sup->due_started || sup->due_start_failed || sup->due_ended) {
    bool started = sup->due_started, failed = sup->due_start_failed, ended = sup->due_ended;
    sup->due_started = sup->due_start_failed = sup->due_ended = false;
    mp_shim_error error = sup->state.error;
    if (started)
      answer(sup, MP_SHIM_FOR_START, NULL, NULL);
    if (failed)
      answer(sup, MP_SHIM_FOR_START, "start-failed", error.message);
    if (ended) {
      answer(sup, MP_SHIM_FOR_START, "ended", "the service was stopped before it started");
      answer(sup, MP_SHIM_FOR_END, NULL, NULL);
    }
  }
}

void mp_shim_announce(mp_shim_supervisor *sup) {
  char line[MP_SHIM_STATE_MAX + 16];
  int len = 0;
  for (mp_shim_client *client = sup->control.clients; client; client = client->next) {
    if (client->dead || !client->subscribed)
      continue;
    if (len == 0)
      len = snprintf(line, sizeof line, "event %s\n", state_text(sup));
    mp_shim_client_send(client, line, (size_t)len);
  }
}
