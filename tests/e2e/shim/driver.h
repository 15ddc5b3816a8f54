/* Drives the real moonport-shim binary for the tests of this folder: specs, connections, waiting.
 *
 * Everything waits for events (answers, file changes, the end of processes) under one generous
 * limit that only a failure reaches, and fails the running test where it cannot go on. */
#ifndef MP_TESTS_SHIM_DRIVER_H
#define MP_TESTS_SHIM_DRIVER_H

#include "tests/unit/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/* The binary under test; set by driver_main. */
extern const char *shim_binary;

typedef struct {
  char dir[64];
  char socket[80];
  char spec[512 * 1024];
  size_t spec_len;
  char ready[512];   /* what came through the ready fd */
  int exit_code;     /* of the process that was started */
  int client;        /* a connection, -1 when none */
  char line[131072]; /* the last line read */
  size_t held_len;
  char held[131072]; /* read and not taken yet */
} shim;

/* A folder of its own, an empty spec. Free with shim_teardown, which also ends what still runs. */
int shim_setup(void **state);
int shim_teardown(void **state);

/* Adds a record to the spec. */
void spec_add(shim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void spec_add_bytes(shim *s, const char *bytes, size_t len);
/* arg= records for `/bin/sh -c SCRIPT`. */
void spec_shell(shim *s, const char *script);

/* Starts the shim with the spec (and `end=1`); extra arguments end with NULL. Waits for the ready
 * line. */
void shim_start(shim *s, ...);
/* As shim_start, and it must have answered `ok`. */
void shim_start_ok(shim *s);
/* As an agent on a character device, whose other end is the client: nothing is read from it yet. */
void shim_start_on_device(shim *s);

/* Connects and takes the greeting. */
void shim_connect(shim *s);
void shim_disconnect(shim *s);
/* A further connection, whose greeting is not read yet. */
int shim_dial(const shim *s);
void shim_send(shim *s, const char *text);
/* The next line, in s->line without its newline; NULL at the end of the connection. */
const char *shim_read(shim *s);
/* Sends a line, returns the answer. */
const char *shim_ask(shim *s, const char *request);
/* Reads lines until one contains `text`. */
const char *shim_read_until(shim *s, const char *text);

/* The service's main process, or the shim, as the answer to `status` says. */
pid_t service_pid(shim *s);
pid_t shim_pid(shim *s);

/* state.json as it is now. The returned string is overwritten by the next call. */
const char *state_file(const shim *s);
/* Waits until state.json contains `text`. */
const char *wait_state(const shim *s, const char *text);
/* Reads a file of the folder whole. The caller frees. */
char *read_file(const shim *s, const char *name, size_t *len);
/* Waits until a file of the folder contains `text`. */
void wait_file(const shim *s, const char *name, const char *text);

/* The log's records (of every rotated file, oldest first) put together again: what the service
 * wrote to `stream` ("stdout", "stderr"). The caller frees. */
char *service_output(const shim *s, const char *stream, size_t *len);

/* Waits until the process is no more (or a zombie). */
void wait_gone(pid_t pid);
bool is_alive(pid_t pid);

/* The number behind the first `"key":` of a JSON text, -1 without. */
long long json_number(const char *json, const char *key);

#define assert_contains(text, part)                                                                \
  do {                                                                                             \
    if (strstr((text), (part)) == NULL)                                                            \
      fail_msg("`%s` is not in: %s", (part), (text));                                              \
  } while (0)

/* Has the service sleep: for tests that only need one that runs. */
void sleeper(shim *s);

/* main() of a test program: argv[1] is the shim. */
int driver_main(int argc, char **argv, int (*run)(void));

#endif
