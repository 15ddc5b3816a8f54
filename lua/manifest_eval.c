#include "manifest_eval.h"

#include "core/encode.h"
#include "core/mem.h"

#include <ctype.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define DEPTH_MAX 100
#define JSON_MAX ((size_t)16 << 20)
/* The chunk's name in messages, cut off again: the caller knows the file. */
#define CHUNK "manifest"

/* What went wrong, before it becomes JSON. */
typedef struct {
  mp_buf message;
  mp_buf path; /* of the field whose value could not be written */
  const char *hint;
  int line; /* 0: unknown */
} failure;

/* A heap with a ceiling: exhausting it is an ordinary Lua error, which names the manifest, where
 * the kernel's limit alone would be a crash. */

static void *bounded_alloc(void *data, void *block, size_t old_size, size_t new_size) {
  size_t *used = data;
  size_t old = block ? old_size : 0;
  if (new_size == 0) {
    free(block);
    *used -= old;
    return NULL;
  }
  if (new_size > old && *used - old + new_size > MP_MANIFEST_HEAP_MAX)
    return NULL;
  void *moved = realloc(block, new_size);
  if (moved)
    *used = *used - old + new_size;
  return moved;
}

/* The environment. */

static int secret_reference(lua_State *L, const char *source) {
  lua_createtable(L, 0, 1);
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, source);
  lua_setfield(L, -2, "$secret");
  return 1;
}

static int secret_file(lua_State *L) {
  luaL_checktype(L, 1, LUA_TSTRING);
  return secret_reference(L, "file");
}

static int secret_env(lua_State *L) {
  luaL_checktype(L, 1, LUA_TSTRING);
  return secret_reference(L, "env");
}

static int secret_command(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  return secret_reference(L, "command");
}

static void remove_names(lua_State *L, int table, const char *const *names) {
  table = lua_absindex(L, table);
  for (; *names; names++) {
    lua_pushnil(L);
    lua_setfield(L, table, *names);
  }
}

static void open_environment(lua_State *L) {
  static const char *const base[] = {"load",           "loadfile", "dofile", "require",
                                     "collectgarbage", "print",    "warn",   NULL};
  static const char *const string[] = {"dump", NULL};
  static const luaL_Reg secret[] = {
      {"file", secret_file}, {"env", secret_env}, {"command", secret_command}, {NULL, NULL}};
  luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
  remove_names(L, -1, base);
  luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
  remove_names(L, -1, string);
  luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
  luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
  luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
  lua_settop(L, 0);
  luaL_newlib(L, secret);
  lua_setglobal(L, "secret");
}

/* Writing the value. */

static void put_string(mp_buf *out, const char *text, size_t len) {
  mp_buf_append(out, "\"", 1);
  mp_json_escape(out, text, len);
  mp_buf_append(out, "\"", 1);
}

static int fail(failure *why, const char *hint, const char *message) {
  mp_buf_puts(&why->message, message);
  why->hint = hint;
  return -1;
}

/* True for a key that a path shows without quotes. */
static bool is_bare_key(const char *key) {
  if (!isalpha((unsigned char)*key) && *key != '_')
    return false;
  for (; *key; key++)
    if (!isalnum((unsigned char)*key) && *key != '_' && *key != '-')
      return false;
  return true;
}

/* Puts the key at `index` in front of the path, as moonport.keypath writes it, while a failure
 * unwinds. Returns -1. */
static int blame(lua_State *L, int index, failure *why) {
  mp_buf path = MP_BUF_INIT;
  if (lua_isinteger(L, index)) {
    mp_buf_printf(&path, "[%lld]", (long long)lua_tointeger(L, index));
  } else if (lua_type(L, index) == LUA_TSTRING) {
    const char *key = lua_tostring(L, index);
    mp_buf_printf(&path, is_bare_key(key) ? "%.200s" : "[\"%.200s\"]", key);
  } else {
    mp_buf_puts(&path, "[?]");
  }
  if (why->path.len > 0)
    mp_buf_printf(&path, "%s%s", why->path.data[0] == '[' ? "" : ".", why->path.data);
  mp_buf_free(&why->path);
  why->path = path;
  return -1;
}

static int write_value(lua_State *L, mp_buf *out, failure *why, int depth);

static int write_text(lua_State *L, mp_buf *out, failure *why) {
  size_t len, bad;
  const char *text = lua_tolstring(L, -1, &len);
  if (!mp_utf8_valid(text, len, &bad))
    return fail(why, "text in a manifest is UTF-8; put other bytes in a file", "text is not UTF-8");
  put_string(out, text, len);
  return 0;
}

static int write_number(lua_State *L, mp_buf *out, failure *why) {
  if (lua_isinteger(L, -1)) {
    mp_buf_printf(out, "%lld", (long long)lua_tointeger(L, -1));
    return 0;
  }
  double number = lua_tonumber(L, -1);
  if (!isfinite(number))
    return fail(why, NULL, "a number is not finite");
  size_t start = out->len;
  mp_buf_printf(out, "%.17g", number);
  if (strpbrk(out->data + start, ".e") == NULL)
    mp_buf_puts(out, ".0");
  return 0;
}

/* The length of a table whose keys are exactly 1..n; -1 for any other, and for an empty one. */
static long long array_length(lua_State *L) {
  long long count = 0, highest = 0;
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1) {
      lua_pop(L, 1);
      return -1;
    }
    if (lua_tointeger(L, -1) > highest)
      highest = lua_tointeger(L, -1);
    count++;
  }
  return count > 0 && highest == count ? count : -1;
}

static int write_array(lua_State *L, mp_buf *out, failure *why, int depth, long long count) {
  mp_buf_append(out, "[", 1);
  for (long long i = 1; i <= count; i++) {
    if (i > 1)
      mp_buf_append(out, ",", 1);
    lua_rawgeti(L, -1, i);
    if (write_value(L, out, why, depth)) {
      lua_pushinteger(L, i);
      return blame(L, -1, why);
    }
    lua_pop(L, 1);
  }
  mp_buf_append(out, "]", 1);
  return 0;
}

static int write_key(lua_State *L, mp_buf *out, failure *why) {
  if (lua_type(L, -1) != LUA_TSTRING)
    return fail(why, "use either names or list elements in one table",
                "a table mixes names with list elements, or its list has gaps");
  return write_text(L, out, why);
}

static int write_object(lua_State *L, mp_buf *out, failure *why, int depth) {
  bool first = true;
  mp_buf_append(out, "{", 1);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    int key = lua_gettop(L) - 1;
    if (!first)
      mp_buf_append(out, ",", 1);
    first = false;
    lua_pushvalue(L, key);
    int status = write_key(L, out, why);
    lua_pop(L, 1);
    if (status)
      return blame(L, key, why);
    mp_buf_append(out, ":", 1);
    if (write_value(L, out, why, depth))
      return blame(L, key, why);
    lua_pop(L, 1);
  }
  mp_buf_append(out, "}", 1);
  return 0;
}

static int write_table(lua_State *L, mp_buf *out, failure *why, int depth) {
  if (depth > DEPTH_MAX || !lua_checkstack(L, 8))
    return fail(why, NULL, "a table is nested too deeply, or holds itself");
  long long count = array_length(L);
  return count > 0 ? write_array(L, out, why, depth + 1, count)
                   : write_object(L, out, why, depth + 1);
}

/* Appends the value on top of the stack. On failure the stack holds leftovers. */
static int write_value(lua_State *L, mp_buf *out, failure *why, int depth) {
  if (out->len > JSON_MAX)
    return fail(why, NULL, "the manifest's data is too large");
  switch (lua_type(L, -1)) {
  case LUA_TBOOLEAN:
    mp_buf_puts(out, lua_toboolean(L, -1) ? "true" : "false");
    return 0;
  case LUA_TNUMBER:
    return write_number(L, out, why);
  case LUA_TSTRING:
    return write_text(L, out, why);
  case LUA_TTABLE:
    return write_table(L, out, why, depth);
  default:
    mp_buf_printf(&why->message, "a %s is not plain data", luaL_typename(L, -1));
    why->hint = "a manifest holds text, numbers, booleans and tables of them";
    return -1;
  }
}

/* Running the chunk. */

/* Message handler: keeps the text and the manifest's line at which the error was raised. */
static int on_error(lua_State *L) {
  failure *why = lua_touserdata(L, lua_upvalueindex(1));
  lua_Debug ar;
  for (int level = 0; why->line == 0 && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "l", &ar);
    if (ar.currentline > 0)
      why->line = ar.currentline;
  }
  if (lua_type(L, 1) != LUA_TSTRING)
    lua_pushfstring(L, "the manifest raised a %s", luaL_typename(L, 1));
  return 1;
}

/* Takes over a message, cutting off "manifest:LINE: ", whose line is the more exact one. */
static void take_message(failure *why, const char *text) {
  int line = 0, used = 0;
  if (text == NULL)
    text = "unknown error";
  if (sscanf(text, CHUNK ":%d: %n", &line, &used) == 1 && used > 0) {
    why->line = line;
    text += used;
  }
  mp_buf_puts(&why->message, text);
}

static int run_chunk(lua_State *L, const char *text, size_t len, failure *why) {
  /* A first line that begins with `#` is for the shell. */
  size_t skipped = 0;
  if (len > 0 && text[0] == '#')
    while (skipped < len && text[skipped] != '\n')
      skipped++;
  lua_pushlightuserdata(L, why);
  lua_pushcclosure(L, on_error, 1);
  int status = luaL_loadbufferx(L, text + skipped, len - skipped, "=" CHUNK, "t");
  if (status == LUA_OK)
    status = lua_pcall(L, 0, 1, 1);
  if (status == LUA_ERRMEM) {
    mp_buf_printf(&why->message, "the manifest needs more than %zu MiB of memory",
                  MP_MANIFEST_HEAP_MAX >> 20);
    return -1;
  }
  if (status != LUA_OK) {
    take_message(why, lua_tostring(L, -1));
    return -1;
  }
  if (lua_istable(L, -1))
    return 0;
  mp_buf_printf(&why->message, "a manifest returns a table, not %s", luaL_typename(L, -1));
  why->hint = "begin it with `return {`";
  return -1;
}

typedef struct {
  const char *text;
  size_t len;
  mp_buf *out;
  failure *why;
  int status;
} job;

/* Under lua_pcall: opening libraries and walking tables may run out of memory. */
static int evaluate(lua_State *L) {
  job *work = lua_touserdata(L, 1);
  lua_settop(L, 0);
  open_environment(L);
  work->status = run_chunk(L, work->text, work->len, work->why);
  if (work->status == 0) {
    mp_buf_puts(work->out, "{\"ok\":");
    work->status = write_value(L, work->out, work->why, 0);
    mp_buf_puts(work->out, "}");
  }
  return 0;
}

static void put_failure(mp_buf *json, const failure *why) {
  mp_buf_puts(json, "{\"error\":{\"message\":");
  const char *message = why->message.data ? why->message.data : "not enough memory";
  /* A message can quote any byte of the source. */
  size_t len = strlen(message), bad;
  mp_auto_free char *clean = mp_memdup(message, len);
  while (!mp_utf8_valid(clean, len, &bad))
    clean[bad] = '?';
  put_string(json, clean, len);
  if (why->line > 0)
    mp_buf_printf(json, ",\"line\":%d", why->line);
  if (why->path.len > 0 && mp_utf8_valid(why->path.data, why->path.len, NULL)) {
    mp_buf_puts(json, ",\"path\":");
    put_string(json, why->path.data, why->path.len);
  }
  if (why->hint) {
    mp_buf_puts(json, ",\"hint\":");
    put_string(json, why->hint, strlen(why->hint));
  }
  mp_buf_puts(json, "}}");
}

void mp_manifest_eval(const char *text, size_t len, mp_buf *json) {
  size_t used = 0, start = json->len;
  failure why = {0};
  job work = {.text = text, .len = len, .out = json, .why = &why, .status = -1};
  lua_State *L = lua_newstate(bounded_alloc, &used);
  if (L == NULL) {
    put_failure(json, &why);
    return;
  }
  lua_pushcfunction(L, evaluate);
  lua_pushlightuserdata(L, &work);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    work.status = -1;
  lua_close(L);
  if (work.status != 0) {
    json->len = start;
    put_failure(json, &why);
  }
  mp_buf_free(&why.message);
  mp_buf_free(&why.path);
}

/* The child. */

static void limit(int resource, rlim_t value) {
  struct rlimit wanted = {value, value};
  /* A limit that is already lower cannot be raised, and need not be. */
  setrlimit(resource, &wanted);
}

static void set_limits(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, MP_MANIFEST_CPU_SECONDS);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_NOFILE, 3);
#ifndef __SANITIZE_ADDRESS__
  /* AddressSanitizer reserves terabytes of address space. */
  limit(RLIMIT_AS, (rlim_t)8 * MP_MANIFEST_HEAP_MAX);
#endif
}

/* Reads standard input; returns -1 when it is too long or cannot be read. */
static int read_input(mp_buf *text) {
  for (;;) {
    char *room = mp_buf_reserve(text, 65536);
    ssize_t count = read(STDIN_FILENO, room, 65536);
    if (count == 0)
      return 0;
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return -1;
    text->len += (size_t)count;
    if (text->len > MP_MANIFEST_TEXT_MAX)
      return -1;
  }
}

static int write_output(const mp_buf *json) {
  for (size_t done = 0; done < json->len;) {
    ssize_t count = write(STDOUT_FILENO, json->data + done, json->len - done);
    if (count < 0 && errno != EINTR)
      return -1;
    if (count > 0)
      done += (size_t)count;
  }
  return 0;
}

int mp_manifest_eval_main(void) {
  set_limits();
  mp_auto_buf mp_buf text = MP_BUF_INIT;
  mp_auto_buf mp_buf json = MP_BUF_INIT;
  if (read_input(&text)) {
    mp_buf_printf(&json, "{\"error\":{\"message\":\"the manifest is longer than %zu MiB\"}}",
                  MP_MANIFEST_TEXT_MAX >> 20);
  } else {
    mp_manifest_eval(text.data ? text.data : "", text.len, &json);
  }
  return write_output(&json) ? 1 : 0;
}
