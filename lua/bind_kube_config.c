/*** Configurations.
@submodule moonport.core.kube
*/
#include "bind_kube.h"

#include "core/http.h"
#include "core/mem.h"
#include "errors.h"
#include "secret.h"
#include "task.h"

#include <stdlib.h>
#include <string.h>

/* ---- options -------------------------------------------------------------------------------- */

typedef enum { TEXT, SECRET, CHOICE, FLAG, TEXTS } kind;

typedef struct {
  const char *name;
  kind kind;
  size_t offset;
} option;

#define OPTION(name, kind, member)                                                                 \
  { name, kind, offsetof(mp_kube_flags, member) }

/* Sorted by name. */
static const option known[] = {
    OPTION("as", TEXT, as),
    OPTION("as_groups", TEXTS, as_groups),
    OPTION("as_uid", TEXT, as_uid),
    OPTION("ca", TEXT, ca),
    OPTION("cluster", TEXT, cluster),
    OPTION("context", TEXT, context),
    OPTION("in_cluster", FLAG, in_cluster),
    OPTION("insecure", CHOICE, insecure),
    OPTION("kubeconfig", TEXT, kubeconfig),
    OPTION("namespace", TEXT, name_space),
    OPTION("proxy", SECRET, proxy),
    OPTION("server", TEXT, server),
    OPTION("tls_server_name", TEXT, tls_server_name),
    OPTION("token", SECRET, token),
    OPTION("user", TEXT, user),
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int compare_name(const void *name, const void *entry) {
  return strcmp(name, ((const option *)entry)->name);
}

static void unknown(lua_State *L, const char *name) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "moonport.nearest");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "hint");
  lua_pushstring(L, name);
  lua_newtable(L);
  for (size_t i = 0; i < COUNT(known); i++) {
    lua_pushstring(L, known[i].name);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_call(L, 2, 1);
  mp_raise(L, "argument", MP_INVALID, lua_tostring(L, -1), "kube: there is no option `%s`", name);
}

static void wrong(lua_State *L, const char *name, const char *wanted) {
  mp_bad_argument(L, "kube: `%s` is %s, got a %s", name, wanted, luaL_typename(L, -1));
}

/* What is on top of the stack (which stays) lives as long as the table at `keep`. */
static void anchor(lua_State *L, int keep) {
  lua_pushvalue(L, -1);
  lua_rawseti(L, keep, (lua_Integer)lua_rawlen(L, keep) + 1);
}

static const char *text_of(lua_State *L, const option *option, int keep) {
  size_t len;
  const char *text;
  if (option->kind == SECRET)
    text = mp_secret_tolstring(L, -1, &len);
  else
    text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
  if (!text)
    wrong(L, option->name, option->kind == SECRET ? "a string or a secret" : "a string");
  else if (strlen(text) != len)
    mp_bad_argument(L, "kube: `%s` contains a NUL byte", option->name);
  anchor(L, keep);
  return text;
}

/* Leaves the stack as it was. */
static const char *const *texts_of(lua_State *L, const option *option, int keep) {
  if (!lua_istable(L, -1))
    wrong(L, option->name, "a list of strings");
  size_t count = lua_rawlen(L, -1);
  const char **texts = lua_newuserdatauv(L, (count + 1) * sizeof *texts, 0);
  anchor(L, keep);
  lua_pop(L, 1);
  for (size_t i = 0; i < count; i++) {
    if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TSTRING)
      wrong(L, option->name, "a list of strings");
    texts[i] = lua_tostring(L, -1);
    anchor(L, keep);
    lua_pop(L, 1);
  }
  texts[count] = NULL;
  return texts;
}

static bool boolean_of(lua_State *L, const option *option) {
  if (!lua_isboolean(L, -1))
    wrong(L, option->name, "true or false");
  return lua_toboolean(L, -1);
}

static void read_option(lua_State *L, const option *option, mp_kube_flags *flags, int keep) {
  void *to = (char *)flags + option->offset;
  switch (option->kind) {
  case TEXT:
  case SECRET:
    *(const char **)to = text_of(L, option, keep);
    break;
  case CHOICE:
    *(mp_kube_choice *)to = boolean_of(L, option) ? MP_KUBE_YES : MP_KUBE_NO;
    break;
  case FLAG:
    *(bool *)to = boolean_of(L, option);
    break;
  case TEXTS:
    *(const char *const **)to = texts_of(L, option, keep);
    break;
  }
}

/* What the flags point to lives as long as the table at `keep`: the options may be changed by
 * another task while a thread reads files by them. */
static void read_flags(lua_State *L, int index, int keep, mp_kube_flags *flags) {
  if (!lua_istable(L, index))
    mp_bad_argument(L, "kube: the options are a table, got a %s", luaL_typename(L, index));
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      mp_bad_argument(L, "kube: options have names, got a %s as key", luaL_typename(L, -2));
    const char *name = lua_tostring(L, -2);
    const option *option = bsearch(name, known, COUNT(known), sizeof *known, compare_name);
    if (!option)
      unknown(L, name);
    else
      read_option(L, option, flags, keep);
  }
}

/* ---- loading -------------------------------------------------------------------------------- */

typedef struct {
  mp_wait wait; /* first */
  mp_kube_flags flags;
  mp_kube_config *config;
  mp_kube_fault fault;
  mp_error error;
} load_wait;

static void release(mp_wait *wait) {
  load_wait *self = (load_wait *)wait;
  mp_kube_config_unref(mp_steal(self->config));
  mp_kube_fault_free(&self->fault);
  mp_error_reset(&self->error);
}

/* Raises, with file, line and field as fields of the error. */
static int throw_fault(lua_State *L, mp_error *err, mp_kube_fault *fault) {
  mp_push_error(L, err);
  if (fault->file) {
    lua_pushstring(L, fault->file);
    lua_setfield(L, -2, "file");
    lua_pushinteger(L, fault->line);
    lua_setfield(L, -2, "line");
  }
  if (fault->field) {
    lua_pushstring(L, fault->field);
    lua_setfield(L, -2, "field");
  }
  mp_kube_fault_free(fault);
  return lua_error(L);
}

static void push_config(lua_State *L, mp_kube_config **config) {
  mp_kube_config **self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = mp_steal(*config);
  luaL_setmetatable(L, MP_KUBE_CONFIG_TYPE);
}

static int loaded(lua_State *L, mp_wait *wait) {
  load_wait *self = (load_wait *)wait;
  if (!self->config)
    return throw_fault(L, &self->error, &self->fault);
  push_config(L, &self->config);
  return 1;
}

static void load(void *data) {
  load_wait *self = data;
  mp_kube_config_load(&self->flags, &self->config, &self->fault, &self->error);
}

static void load_done(void *data, bool cancelled) {
  load_wait *self = data;
  if (cancelled)
    mp_wait_cancelled(&self->wait);
  mp_wait_done(&self->wait);
}

/* Where Lua cannot wait. */
static int load_at_once(lua_State *L, const mp_kube_flags *flags) {
  mp_kube_config *config = NULL;
  mp_kube_fault fault = {0};
  mp_error err = MP_ERROR_INIT;
  if (mp_kube_config_load(flags, &config, &fault, &err) < 0)
    return throw_fault(L, &err, &fault);
  push_config(L, &config);
  return 1;
}

/*** Which cluster, as whom, how: as kubectl would find it.
@function config
@tparam[opt] table options kubectl's flags: `kubeconfig`, `context`, `cluster`, `user`, `namespace`,
  `server`, `ca`, `tls_server_name`, `insecure`, `proxy`, `token` (string or secret), `as`,
`as_uid`, `as_groups`; and `in_cluster`: true uses the service account of this pod
@treturn userdata with the fields `server`, `namespace`, `context`, `cluster`, `user`, `auth`
  ("exec", "token", "token-file", "certificate", "basic", "in-cluster", "none"), `impersonate` and
  the method `explain`
@raise {kind="kube", code="config"} with `file`, `line` and `field` where a file is at fault
*/
static int l_config(lua_State *L) {
  mp_kube_flags flags = {0};
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_newtable(L);
    lua_replace(L, 1);
  }
  lua_newtable(L);
  read_flags(L, 1, 2, &flags);
  if (!mp_can_wait(L))
    return load_at_once(L, &flags);
  load_wait *self = mp_wait_new(L, sizeof *self, "kube.config", loaded);
  self->wait.release = release;
  self->flags = flags;
  self->wait.op = mp_work_start(mp_loop_of(L), load, load_done, self);
  return mp_wait_yield(L, &self->wait);
}

/* ---- configurations ------------------------------------------------------------------------- */

mp_kube_config *mp_kube_check_config(lua_State *L, int index) {
  return *(mp_kube_config **)luaL_checkudata(L, index, MP_KUBE_CONFIG_TYPE);
}

static void set_field(lua_State *L, const char *name, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static void add_row(void *data, const mp_kube_row *row) {
  lua_State *L = data;
  lua_createtable(L, 0, 5);
  set_field(L, "field", row->field);
  set_field(L, "value", row->text);
  set_field(L, "from", row->value->from);
  if (row->value->file) {
    set_field(L, "file", row->value->file);
    lua_pushinteger(L, row->value->line);
    lua_setfield(L, -2, "line");
  }
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* config:explain(): {field=, value=, from=, file=, line=} of each chosen value; secrets masked */
static int config_explain(lua_State *L) {
  mp_kube_config *config = mp_kube_check_config(L, 1);
  lua_newtable(L);
  mp_kube_config_explain(config, add_row, L);
  return 1;
}

/* As it may be shown: without a password in it. */
static void push_server(lua_State *L, const mp_kube_config *config) {
  char *shown = mp_http_redact(config->base);
  lua_pushstring(L, shown);
  free(shown);
}

static const char *field_of(const mp_kube_config *config, const char *name) {
  const struct {
    const char *name, *text;
  } fields[] = {
      {"namespace", config->name_space.text},    {"context", config->context.text},
      {"cluster", config->cluster_name.text},    {"user", config->user_name.text},
      {"auth", mp_kube_auth_name(config->auth)}, {"impersonate", config->user.as.text},
  };
  for (size_t i = 0; i < COUNT(fields); i++) {
    if (strcmp(fields[i].name, name) == 0)
      return fields[i].text;
  }
  return NULL;
}

/* Upvalue 1: the methods. */
static int config_index(lua_State *L) {
  const mp_kube_config *config = mp_kube_check_config(L, 1);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
    return 1;
  const char *name = luaL_checkstring(L, 2);
  if (strcmp(name, "server") == 0)
    push_server(L, config);
  else
    lua_pushstring(L, field_of(config, name));
  return 1;
}

static int config_gc(lua_State *L) {
  mp_kube_config **self = luaL_checkudata(L, 1, MP_KUBE_CONFIG_TYPE);
  mp_kube_config_unref(mp_steal(*self));
  return 0;
}

static int config_tostring(lua_State *L) {
  const mp_kube_config *config = mp_kube_check_config(L, 1);
  push_server(L, config);
  lua_pushfstring(L, "%s: %s", MP_KUBE_CONFIG_TYPE, lua_tostring(L, -1));
  return 1;
}

void mp_kube_open_config(lua_State *L) {
  static const luaL_Reg methods[] = {{"explain", config_explain}, {NULL, NULL}};
  luaL_newmetatable(L, MP_KUBE_CONFIG_TYPE);
  luaL_newlib(L, methods);
  lua_pushcclosure(L, config_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, config_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, config_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_config);
  lua_setfield(L, -2, "config");
}
