/*** QEMU's control connection. `moonport.vm` is what scripts use.
@module moonport.core.vm
*/
#include "bind_vm.h"

#include "class.h"
#include "core/mem.h"
#include "core/vm/qmp.h"
#include "errors.h"
#include "gate.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QMP "moonport.vm.qmp"

typedef struct {
  mp_qmp *qmp; /* NULL once it is closed */
} connection;

static mp_qmp *check_open(lua_State *L) {
  const connection *self = luaL_checkudata(L, 1, QMP);
  if (self->qmp == NULL)
    mp_raise(L, "qmp", "closed", NULL, "the connection to qemu is closed");
  return self->qmp;
}

/* -- Connecting ---------------------------------------------------------------------------------
 */

typedef struct {
  mp_wait wait;
  mp_qmp *qmp;
} connect_wait;

static void connect_release(mp_wait *wait) {
  mp_qmp_close(mp_steal(((connect_wait *)wait)->qmp));
}

static void connected(void *data, mp_qmp *qmp, const mp_error *err) {
  connect_wait *self = data;
  self->qmp = qmp;
  mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

static int connect_finish(lua_State *L, mp_wait *wait) {
  connection *made = lua_newuserdatauv(L, sizeof *made, 0);
  made->qmp = mp_steal(((connect_wait *)wait)->qmp);
  luaL_setmetatable(L, QMP);
  return 1;
}

/*** Connects to a socket of QEMU and negotiates its capabilities. Another client of the same socket
is waited for, without a limit. Reads only.
@function qmp
@tparam string path
@treturn Qmp
@raise {kind="net"}: "ECONNREFUSED", "ENOENT" and other errno names; {kind="qmp", code="protocol"}
*/
static int l_qmp(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  connect_wait *self = mp_wait_new(L, sizeof *self, "vm.qmp", connect_finish);
  self->wait.release = connect_release;
  if (mp_qmp_connect(mp_loop_of(L), path, connected, self, &self->wait.op, &self->wait.error) < 0)
    return mp_throw(L, &self->wait.error);
  return mp_wait_yield(L, &self->wait);
}

/*** A connection to QEMU. `local qmp <close> = ...` closes it.
@type Qmp
*/

/* -- Commands -----------------------------------------------------------------------------------
 */

typedef struct {
  mp_wait wait;
  char *json;
  size_t len;
} answer_wait;

static void answer_release(mp_wait *wait) {
  free(mp_steal(((answer_wait *)wait)->json));
}

static void answered(void *data, const char *json, size_t len, const mp_error *err) {
  answer_wait *self = data;
  if (json)
    self->json = mp_memdup(json, len);
  self->len = len;
  mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

static int answer_finish(lua_State *L, mp_wait *wait) {
  const answer_wait *self = (answer_wait *)wait;
  lua_pushlstring(L, self->json, self->len);
  return 1;
}

static bool begins_with(const char *text, const char *start) {
  return strncmp(text, start, strlen(start)) == 0;
}

/* Commands that only ask, by QEMU's own convention for their names. */
static bool only_asks(const char *command) {
  return begins_with(command, "query-") || strcmp(command, "qom-get") == 0 ||
         begins_with(command, "qom-list");
}

static const char *check_command(lua_State *L) {
  const char *command = luaL_checkstring(L, 2);
  if (command[strspn(command, "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")] != '\0')
    mp_bad_argument(L, "`%s` is no command of qemu", command);
  return command;
}

/* -1 with an error where the file cannot be opened. A new file is for us alone. */
static int open_file(const char *path, bool writing, mp_error *err) {
  int flags = writing ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY;
  int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    mp_error_errno(err, "fs", errno, "could not open `%s`", path);
  return fd;
}

/*** Sends a command and returns its answer.
@function Qmp:execute
@tparam string command
@tparam[opt] string arguments JSON of an object, without a newline
@tparam[opt] string file a path whose descriptor goes along (`getfd`)
@tparam[opt="read"] string mode "read", or "write": the file is made anew
@treturn string JSON
@raise {kind="qmp"}: "refused", "not-found", "unknown-command" with QEMU's words; "closed",
"protocol", "limit" when the connection is of no more use
*/
static int qmp_execute(lua_State *L) {
  static const char *const modes[] = {"read", "write", NULL};
  mp_qmp *qmp = check_open(L);
  const char *command = check_command(L);
  const char *arguments = luaL_optstring(L, 3, NULL);
  const char *file = luaL_optstring(L, 4, NULL);
  bool writing = luaL_checkoption(L, 5, "read", modes) == 1;
  lua_settop(L, 4);
  if (file || !only_asks(command))
    mp_gate(L, "vm.qmp", "tell qemu `%s`", command);
  answer_wait *self = mp_wait_new(L, sizeof *self, "vm.qmp", answer_finish);
  self->wait.release = answer_release;
  int fd = file ? open_file(file, writing, &self->wait.error) : -1;
  if (file && fd < 0)
    return mp_throw(L, &self->wait.error);
  int rc = mp_qmp_execute(qmp, command, arguments, fd, answered, self, &self->wait.op,
                          &self->wait.error);
  if (fd >= 0)
    close(fd);
  return rc < 0 ? mp_throw(L, &self->wait.error) : mp_wait_yield(L, &self->wait);
}

/* -- Events ----------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait;
  char *name, *data;
  double time;
} event_wait;

static void event_release(mp_wait *wait) {
  event_wait *self = (event_wait *)wait;
  free(mp_steal(self->name));
  free(mp_steal(self->data));
}

static void happened(void *data, const mp_qmp_event *event, const mp_error *err) {
  event_wait *self = data;
  if (event) {
    self->name = mp_strdup(event->name);
    self->data = mp_strdup(event->data);
    self->time = event->time;
  }
  mp_wait_fail(&self->wait, err);
  mp_wait_done(&self->wait);
}

static int event_finish(lua_State *L, mp_wait *wait) {
  const event_wait *self = (event_wait *)wait;
  lua_pushstring(L, self->name);
  lua_pushstring(L, self->data);
  lua_pushnumber(L, self->time);
  return 3;
}

/*** Waits for the next event since the connection was made.
@function Qmp:next_event
@treturn string its name; "LOST" where more came than were asked for
@treturn string its data: JSON, or ""
@treturn number when, in seconds since the epoch
@raise {kind="qmp", code="closed"} once QEMU has gone
*/
static int qmp_next_event(lua_State *L) {
  mp_qmp *qmp = check_open(L);
  lua_settop(L, 1);
  event_wait *self = mp_wait_new(L, sizeof *self, "vm.qmp", event_finish);
  self->wait.release = event_release;
  if (mp_qmp_next_event(qmp, happened, self, &self->wait.op, &self->wait.error) < 0)
    return mp_throw(L, &self->wait.error);
  return mp_wait_yield(L, &self->wait);
}

/*** The greeting's JSON.
@function Qmp:greeting
@treturn string
*/
static int qmp_greeting(lua_State *L) {
  lua_pushstring(L, mp_qmp_greeting(check_open(L)));
  return 1;
}

/*** Closes it. Who waits gets a `cancelled` error.
@function Qmp:close
*/
static int qmp_close(lua_State *L) {
  connection *self = luaL_checkudata(L, 1, QMP);
  mp_qmp_close(mp_steal(self->qmp));
  return 0;
}

int luaopen_moonport_vm(lua_State *L) {
  static const luaL_Reg qmp_methods[] = {{"execute", qmp_execute},
                                         {"next_event", qmp_next_event},
                                         {"greeting", qmp_greeting},
                                         {"close", qmp_close},
                                         {"__close", qmp_close},
                                         {"__gc", qmp_close},
                                         {NULL, NULL}};
  static const luaL_Reg functions[] = {{"qmp", l_qmp}, {NULL, NULL}};
  mp_class(L, QMP, qmp_methods);
  luaL_newlib(L, functions);
  return 1;
}
