/* Option tables of moonport.core.http. */
#include "bind_http.h"

#include "errors.h"
#include "secret.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Which tables know the option. Where it is only DOWNLOADS, the offset is into their options. PATHS
 * are requests whose server is known already. */
typedef enum { REQUESTS = 1, DOWNLOADS = 2, PATHS = 4 } scope;
#define BOTH (REQUESTS | DOWNLOADS)
#define EXCHANGES (REQUESTS | PATHS)
#define ALL (REQUESTS | DOWNLOADS | PATHS)

typedef struct {
  mp_http_options *options;
  mp_http_download_options *download; /* NULL for requests */
  scope scope;
  const char *name; /* of the option being read */
} reader;

static int wrong(lua_State *L, const reader *r, const char *wanted) {
  return mp_bad_argument(L, "http: `%s` is %s, got a %s", r->name, wanted, luaL_typename(L, -1));
}

/* ---- kinds of values, each read from the top of the stack ----------------------------------- */

static void check_no_nul(lua_State *L, const reader *r, const char *text, size_t len) {
  if (memchr(text, '\0', len))
    mp_bad_argument(L, "http: `%s` contains a NUL byte", r->name);
}

static void read_text(lua_State *L, const reader *r, const char **to) {
  size_t len;
  if (lua_type(L, -1) != LUA_TSTRING)
    wrong(L, r, "a string");
  *to = lua_tolstring(L, -1, &len);
  check_no_nul(L, r, *to, len);
}

static void read_secret(lua_State *L, const reader *r, const char **to) {
  size_t len;
  *to = mp_secret_tolstring(L, -1, &len);
  if (!*to)
    wrong(L, r, "a string or a secret");
  check_no_nul(L, r, *to, len);
}

static void read_bytes(lua_State *L, const reader *r, mp_http_bytes *to) {
  to->data = mp_secret_tolstring(L, -1, &to->len);
  if (!to->data)
    wrong(L, r, "a string or a secret");
}

static void read_flag(lua_State *L, const reader *r, bool *to) {
  if (!lua_isboolean(L, -1))
    wrong(L, r, "true or false");
  *to = lua_toboolean(L, -1);
}

static void read_seconds(lua_State *L, const reader *r, uint64_t *milliseconds) {
  lua_Number seconds = lua_tonumber(L, -1);
  if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
    seconds = 0;
  else if (lua_type(L, -1) != LUA_TNUMBER || !(seconds > 0) || seconds > 1e9)
    wrong(L, r, "a number of seconds above 0, or false for none");
  *milliseconds = (uint64_t)ceil(seconds * 1000);
}

static void read_size(lua_State *L, const reader *r, uint64_t *to) {
  lua_Number size = lua_tonumber(L, -1);
  if (lua_type(L, -1) != LUA_TNUMBER || !(size >= 1) || size > 9e18)
    wrong(L, r, "a number of bytes above 0");
  *to = (uint64_t)size;
}

/* ---- options with a shape of their own ------------------------------------------------------ */

static void read_proxy(lua_State *L, const reader *r) {
  if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
    r->options->proxy = "";
  else
    read_secret(L, r, &r->options->proxy);
}

static void read_redirects(lua_State *L, const reader *r) {
  if (lua_isboolean(L, -1)) {
    r->options->redirects = lua_toboolean(L, -1) ? MP_HTTP_REDIRECTS : 0;
    return;
  }
  lua_Number count = lua_tonumber(L, -1);
  if (lua_type(L, -1) != LUA_TNUMBER || !(count >= 0 && count <= 1000))
    wrong(L, r, "a number from 0 to 1000, or true or false");
  r->options->redirects = (int)count;
}

static void read_http2(lua_State *L, const reader *r) {
  bool wanted = false;
  read_flag(L, r, &wanted);
  r->options->version = wanted ? MP_HTTP_2 : MP_HTTP_1_1;
}

/* A string, a secret, or {file = path}. */
static void read_body(lua_State *L, const reader *r) {
  if (!lua_istable(L, -1)) {
    read_bytes(L, r, &r->options->body);
    r->options->body_kind = MP_HTTP_BODY_MEMORY;
    return;
  }
  if (lua_getfield(L, -1, "file") != LUA_TSTRING) {
    lua_pop(L, 1);
    wrong(L, r, "a string, a secret, a function or {file = path}");
  }
  reader file = *r;
  file.name = "body.file";
  read_text(L, &file, &r->options->body_file);
  lua_pop(L, 1);
  r->options->body_kind = MP_HTTP_BODY_FILE;
}

/* ---- headers -------------------------------------------------------------------------------- */

/* A value on top of the stack: a string, a number or a secret, or nil plus the count of these. */
static void add_header(lua_State *L, const char *name, mp_http_header *header) {
  size_t len;
  const char *value = mp_secret_tolstring(L, -1, &len);
  if (!value)
    mp_bad_argument(L, "http: the header `%s` is a string, a number or a secret, got a %s", name,
                    luaL_typename(L, -1));
  if (memchr(value, '\0', len))
    mp_bad_argument(L, "http: the header `%s` contains a NUL byte", name);
  *header = (mp_http_header){name, value, mp_is_secret(L, -1)};
}

static size_t count_headers(lua_State *L, const reader *r) {
  size_t count = 0;
  if (!lua_istable(L, -1))
    wrong(L, r, "a table of names and values");
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      mp_bad_argument(L, "http: `headers` has names as its keys, got a %s", luaL_typename(L, -2));
    count += lua_istable(L, -1) ? lua_rawlen(L, -1) : 1;
  }
  return count;
}

/* Numbers become strings, which must stay on the stack; the others are held by the table.
 * stack: option name, headers, header name, value */
static void keep_number(lua_State *L) {
  if (lua_type(L, -1) == LUA_TNUMBER) {
    lua_tostring(L, -1);
    lua_pushvalue(L, -1);
    lua_insert(L, -5);
  }
}

static size_t add_list(lua_State *L, const char *name, mp_http_header *headers) {
  size_t count = lua_rawlen(L, -1);
  for (size_t i = 0; i < count; i++) {
    if (lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TNUMBER)
      mp_bad_argument(L, "http: a list of values for `%s` holds strings, got a number", name);
    add_header(L, name, &headers[i]);
    lua_pop(L, 1);
  }
  return count;
}

/* The array is a userdata that stays on the stack, below the option's name and value. */
static void read_headers(lua_State *L, const reader *r) {
  size_t count = count_headers(L, r);
  luaL_checkstack(L, (int)count + 8, "too many headers");
  mp_http_header *headers = lua_newuserdatauv(L, (count + 1) * sizeof *headers, 0);
  lua_insert(L, -3);
  r->options->headers = headers;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    const char *name = lua_tostring(L, -2);
    if (lua_istable(L, -1)) {
      headers += add_list(L, name, headers);
      continue;
    }
    keep_number(L);
    add_header(L, name, headers++);
  }
  r->options->header_count = (size_t)(headers - r->options->headers);
}

/* ---- the table ------------------------------------------------------------------------------ */

typedef enum { TEXT, SECRET, BYTES, FLAG, SECONDS, SIZE, OWN, IGNORED } kind;

typedef struct {
  const char *name;
  int scope;
  kind kind;
  size_t offset;
  void (*read)(lua_State *, const reader *);
} option;

#define FIELD(name, scope, kind, member)                                                           \
  { name, scope, kind, offsetof(mp_http_options, member), NULL }
#define DOWNLOAD(name, kind, member)                                                               \
  { name, DOWNLOADS, kind, offsetof(mp_http_download_options, member), NULL }

/* Sorted by name. What is ignored is the Lua side's affair. */
static const option known[] = {
    {"body", EXCHANGES, OWN, 0, read_body},
    FIELD("ca", BOTH, TEXT, tls.ca_file),
    FIELD("ca_pem", BOTH, BYTES, tls.ca_pem),
    FIELD("cert", BOTH, TEXT, tls.cert_file),
    FIELD("cert_pem", BOTH, BYTES, tls.cert_pem),
    FIELD("compressed", EXCHANGES, FLAG, compressed),
    FIELD("connect_timeout", ALL, SECONDS, connect_timeout_ms),
    {"headers", ALL, OWN, 0, read_headers},
    {"http2", BOTH, OWN, 0, read_http2},
    FIELD("idle_timeout", ALL, SECONDS, idle_timeout_ms),
    FIELD("insecure", BOTH, FLAG, tls.insecure),
    {"json", REQUESTS, IGNORED, 0, NULL},
    FIELD("key", BOTH, TEXT, tls.key_file),
    FIELD("key_password", BOTH, SECRET, tls.key_password),
    FIELD("key_pem", BOTH, BYTES, tls.key_pem),
    FIELD("max_body", EXCHANGES, SIZE, max_body),
    DOWNLOAD("max_size", SIZE, max_size),
    FIELD("method", EXCHANGES, TEXT, method),
    {"ok", REQUESTS, IGNORED, 0, NULL},
    DOWNLOAD("path", TEXT, path),
    FIELD("path", PATHS, TEXT, url),
    {"progress", DOWNLOADS, IGNORED, 0, NULL},
    {"proxy", BOTH, OWN, 0, read_proxy},
    {"redirects", BOTH, OWN, 0, read_redirects},
    DOWNLOAD("resume", FLAG, resume),
    FIELD("server_name", BOTH, TEXT, tls.server_name),
    DOWNLOAD("sha256", TEXT, sha256),
    DOWNLOAD("sha512", TEXT, sha512),
    FIELD("stream", EXCHANGES, FLAG, stream),
    FIELD("timeout", ALL, SECONDS, timeout_ms),
    FIELD("unix", BOTH, TEXT, unix_socket),
    FIELD("url", BOTH, TEXT, url),
};

static int compare_name(const void *name, const void *entry) {
  return strcmp(name, ((const option *)entry)->name);
}

/* `path` is there twice and means two things. */
static const option *find(const reader *r, const char *name) {
  const option *end = known + sizeof known / sizeof *known;
  const option *found =
      bsearch(name, known, sizeof known / sizeof *known, sizeof *known, compare_name);
  if (!found)
    return NULL;
  while (found > known && strcmp(found[-1].name, name) == 0)
    found--;
  for (; found < end && strcmp(found->name, name) == 0; found++) {
    if (found->scope & r->scope)
      return found;
  }
  return NULL;
}

/* Raises, with the nearest name that would have been right. */
static void unknown(lua_State *L, const reader *r, const char *name) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "moonport.nearest");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "hint");
  lua_pushstring(L, name);
  lua_newtable(L);
  for (size_t i = 0, n = 0; i < sizeof known / sizeof *known; i++) {
    if (!find(r, known[i].name))
      continue;
    lua_pushstring(L, known[i].name);
    lua_rawseti(L, -2, (lua_Integer)++n);
  }
  lua_call(L, 2, 1);
  mp_raise(L, "argument", MP_INVALID, lua_tostring(L, -1), "http: there is no option `%s`", name);
}

static void read_option(lua_State *L, const reader *r, const option *option) {
  char *base = option->scope == DOWNLOADS ? (char *)r->download : (char *)r->options;
  void *to = base + option->offset;
  switch (option->kind) {
  case TEXT:
    read_text(L, r, to);
    break;
  case SECRET:
    read_secret(L, r, to);
    break;
  case BYTES:
    read_bytes(L, r, to);
    break;
  case FLAG:
    read_flag(L, r, to);
    break;
  case SECONDS:
    read_seconds(L, r, to);
    break;
  case SIZE:
    read_size(L, r, to);
    break;
  case OWN:
    option->read(L, r);
    break;
  case IGNORED:
    break;
  }
}

static void read_table(lua_State *L, int index, reader *r) {
  *r->options = MP_HTTP_OPTIONS_INIT;
  index = lua_absindex(L, index);
  if (!lua_istable(L, index))
    mp_bad_argument(L, "http: the options are a table, got a %s", luaL_typename(L, index));
  /* stack of each round: key, value; `headers` leaves what it needs below them */
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      mp_bad_argument(L, "http: options have names, got a %s as key", luaL_typename(L, -2));
    r->name = lua_tostring(L, -2);
    const option *option = find(r, r->name);
    if (!option)
      unknown(L, r, r->name);
    read_option(L, r, option);
  }
}

void mp_http_read_options(lua_State *L, int index, mp_http_options *options,
                          mp_http_download_options *download) {
  reader r = {options, download, download ? DOWNLOADS : REQUESTS, NULL};
  read_table(L, index, &r);
}

void mp_http_read_path_options(lua_State *L, int index, mp_http_options *options) {
  reader r = {options, NULL, PATHS, NULL};
  read_table(L, index, &r);
}
