#include "state.h"

#include "clock.h"
#include "files.h"
#include "json.h"
#include "shim.h"
#include "signals.h"

static const char *const status_names[] = {"starting", "running", "backoff",
                                           "stopping", "exited",  "failed"};

bool mp_shim_state_ended(const mp_shim_state *state) {
  return state->status == MP_SHIM_EXITED || state->status == MP_SHIM_FAILED;
}

const char *mp_shim_status_name(mp_shim_status status) {
  return status_names[status];
}

static void put_time(mp_shim_json *json, const char *key, struct timespec at) {
  char text[MP_SHIM_TIMESTAMP_LEN + 1];
  mp_shim_timestamp(at, text);
  mp_shim_json_string(json, key, at.tv_sec == 0 ? NULL : text);
}

static void put_process(mp_shim_json *json, pid_t pid, unsigned long long start_time,
                        const char *boot_id) {
  mp_shim_json_int(json, "pid", pid);
  mp_shim_json_int(json, "start_time", (int64_t)start_time);
  mp_shim_json_string(json, "boot_id", boot_id);
}

static void put_exit(mp_shim_json *json, const mp_shim_exit *exit) {
  mp_shim_json_open(json, "exit");
  if (exit->code >= 0)
    mp_shim_json_int(json, "code", exit->code);
  else
    mp_shim_json_null(json, "code");
  mp_shim_json_string(json, "signal", exit->signal ? mp_shim_signal_name(exit->signal) : NULL);
  if (exit->oom >= 0)
    mp_shim_json_bool(json, "oom", exit->oom);
  else
    mp_shim_json_null(json, "oom");
  if (exit->has_peak)
    mp_shim_json_int(json, "peak_memory", (int64_t)exit->peak_memory);
  else
    mp_shim_json_null(json, "peak_memory");
  put_time(json, "started_at", exit->started_at);
  put_time(json, "at", exit->at);
  mp_shim_json_close(json);
}

static void put_error(mp_shim_json *json, const mp_shim_error *error) {
  mp_shim_json_open(json, "error");
  mp_shim_json_string(json, "code", error->code);
  mp_shim_json_string(json, "message", error->message);
  mp_shim_json_close(json);
}

static void put_shim(mp_shim_json *json, const mp_shim_state *state) {
  mp_shim_json_open(json, "shim");
  put_process(json, state->shim_pid, state->shim_start_time, state->boot_id);
  mp_shim_json_string(json, "version", MP_SHIM_VERSION);
  mp_shim_json_int(json, "protocol", MP_SHIM_PROTOCOL);
  mp_shim_json_close(json);
}

static void put_service(mp_shim_json *json, const mp_shim_state *state) {
  if (state->pid == 0) {
    mp_shim_json_null(json, "service");
    return;
  }
  mp_shim_json_open(json, "service");
  put_process(json, state->pid, state->pid_start_time, state->boot_id);
  mp_shim_json_close(json);
}

static void put_log(mp_shim_json *json, const mp_shim_state *state) {
  mp_shim_json_open(json, "log");
  mp_shim_json_int(json, "dropped_bytes", (int64_t)state->log_dropped_bytes);
  mp_shim_json_int(json, "dropped_lines", (int64_t)state->log_dropped_lines);
  mp_shim_json_close(json);
}

static void put_copy(mp_shim_json *json, const mp_shim_state *state) {
  mp_shim_json_open(json, "copy");
  mp_shim_json_int(json, "dropped_bytes", (int64_t)state->copy_dropped_bytes);
  mp_shim_json_int(json, "dropped_lines", (int64_t)state->copy_dropped_lines);
  mp_shim_json_close(json);
}

static void put_notify(mp_shim_json *json, const mp_shim_state *state) {
  mp_shim_json_open(json, "notify");
  mp_shim_json_bool(json, "ready", state->ready);
  mp_shim_json_bool(json, "stopping", state->stopping);
  mp_shim_json_string(json, "status", state->tells[0] ? state->tells : NULL);
  mp_shim_json_close(json);
}

size_t mp_shim_state_format(const mp_shim_state *state, char out[MP_SHIM_STATE_MAX]) {
  mp_shim_json json;
  mp_shim_json_init(&json, out, MP_SHIM_STATE_MAX);
  mp_shim_json_open(&json, NULL);
  mp_shim_json_int(&json, "schema", 1);
  mp_shim_json_string(&json, "name", state->name);
  mp_shim_json_string(&json, "id", state->id);
  mp_shim_json_string(&json, "state", mp_shim_status_name(state->status));
  mp_shim_json_string(&json, "wanted", state->wanted ? "up" : "down");
  mp_shim_json_string(&json, "end", state->end);
  put_service(&json, state);
  put_shim(&json, state);
  mp_shim_json_int(&json, "restarts", (int64_t)state->restarts);
  put_time(&json, "started_at", state->started_at);
  put_time(&json, "changed_at", state->changed_at);
  put_time(&json, "next_start_at", state->next_start_at);
  if (state->has_exit)
    put_exit(&json, &state->exit);
  else
    mp_shim_json_null(&json, "exit");
  if (state->has_error)
    put_error(&json, &state->error);
  else
    mp_shim_json_null(&json, "error");
  put_log(&json, state);
  if (state->has_copy)
    put_copy(&json, state);
  if (state->has_notify)
    put_notify(&json, state);
  mp_shim_json_close(&json);
  return json.len;
}

int mp_shim_state_save(const mp_shim_state *state, int dir) {
  static char text[MP_SHIM_STATE_MAX + 1]; /* static: it would be the deepest frame on the stack */
  size_t len = mp_shim_state_format(state, text);
  text[len++] = '\n';
  /* "starting" is followed by another record at once, which is worth the wait for the disk. */
  return mp_shim_file_replace(dir, "state.json", text, len, state->status != MP_SHIM_STARTING);
}
