#include "loader.h"

#include "core/buf.h"
#include "core/mem.h"
#include "embed.h"
#include "modules.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

/* A name that leads nowhere but below its directory. */
static bool stays_below(const char *name) {
  for (const char *part = name;; part++) {
    size_t len = strcspn(part, "/");
    if (len == 0 || (len == 2 && strncmp(part, "..", 2) == 0))
      return false;
    part += len;
    if (*part == '\0')
      return true;
  }
}

static const char *override_dir(void) {
  const char *dir = getenv("MOONPORT_LUA_DIR");
  return dir && *dir && !getauxval(AT_SECURE) ? dir : NULL;
}

static int compare_name(const void *name, const void *file) {
  return strcmp(name, ((const mp_embedded_file *)file)->name);
}

static const mp_embedded_file *find_embedded(const char *name) {
  return bsearch(name, mp_embedded_files, mp_embedded_count, sizeof *mp_embedded_files,
                 compare_name);
}

/* The path that stands in for `name`, which the caller frees; NULL when there is none. */
static char *find_override(const char *name) {
  const char *dir = override_dir();
  if (dir == NULL || !stays_below(name))
    return NULL;
  const char *floors[] = {"stdlib/", ""};
  for (size_t i = 0; i < 2; i++) {
    char *path = mp_sprintf("%s/%s%s", dir, floors[i], name);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
      return path;
    free(path);
  }
  return NULL;
}

/* Reads a file that is part of the program; these are small and local. */
static int push_file(lua_State *L, const char *path) {
  FILE *file = fopen(path, "re");
  if (file == NULL)
    return luaL_error(L, "could not read `%s`", path);
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  size_t got;
  do {
    got = fread(luaL_prepbuffer(&text), 1, LUAL_BUFFERSIZE, file);
    luaL_addsize(&text, got);
  } while (got > 0);
  fclose(file);
  luaL_pushresult(&text);
  return 1;
}

static bool push_source(lua_State *L, const char *name) {
  char *path = find_override(name);
  if (path) {
    lua_pushstring(L, path);
    free(path);
    push_file(L, lua_tostring(L, -1));
    lua_remove(L, -2);
    return true;
  }
  const mp_embedded_file *file = find_embedded(name);
  if (file == NULL)
    return false;
  lua_pushlstring(L, (const char *)file->data, file->len);
  return true;
}

/* Pushes the function that the build made of a file. False, with nothing pushed, where this is
 * another Lua than the build's. */
static bool load_code(lua_State *L, const mp_embedded_file *file) {
  if (file->code == NULL || strcmp(mp_embedded_lua_ident, lua_ident) != 0)
    return false;
  if (luaL_loadbufferx(L, (const char *)file->code, file->code_len, file->name, "b") == LUA_OK)
    return true;
  lua_pop(L, 1);
  return false;
}

int mp_load_lua_file(lua_State *L, const char *name) {
  const mp_embedded_file *file = override_dir() ? NULL : find_embedded(name);
  if (file && load_code(L, file))
    return 1;
  size_t len = file ? file->len : 0;
  const char *text = file ? (const char *)file->data : NULL;
  if (text == NULL) {
    if (!push_source(L, name))
      return 0;
    text = lua_tolstring(L, -1, &len);
  } else {
    lua_pushnil(L);
  }
  lua_pushfstring(L, "@%s", name);
  if (luaL_loadbufferx(L, text, len, lua_tostring(L, -1), "t") != LUA_OK)
    return lua_error(L);
  lua_replace(L, -3);
  lua_pop(L, 1);
  return 1;
}

/* "a.b" is a/b.lua, or a/b/init.lua. */
static bool push_lua_module(lua_State *L, const char *name) {
  static const char *const endings[] = {".lua", "/init.lua"};
  const char *path = luaL_gsub(L, name, ".", "/");
  for (size_t i = 0; i < 2; i++) {
    if (mp_load_lua_file(L, lua_pushfstring(L, "%s%s", path, endings[i])))
      return true;
  }
  return false;
}

static bool push_module(lua_State *L, const char *name) {
  const char *core = strncmp(name, "moonport.core.", 14) == 0 ? name + 14 : NULL;
  if (core == NULL) {
    if (push_lua_module(L, name))
      return true;
    if (strncmp(name, "moonport.", 9) == 0)
      core = name + 9;
  }
  for (const luaL_Reg *module = mp_c_modules; core && module->name; module++) {
    if (strcmp(module->name, core) == 0) {
      lua_pushcfunction(L, module->func);
      return true;
    }
  }
  return false;
}

static int searcher(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (!push_module(L, name)) {
    /* The name is ours: nothing from the working directory may stand in. */
    if (strncmp(name, "moonport.", 9) == 0)
      return luaL_error(L, "module '%s' not found", name);
    lua_pushfstring(L, "no file '%s' in moonport", name);
    return 1;
  }
  lua_pushfstring(L, "moonport:%s", name);
  return 2;
}

void mp_install_loader(lua_State *L) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchers");
  for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, searcher);
  lua_rawseti(L, -2, 2);
  lua_pop(L, 2);
}

/*** The Lua files that moonport is made of.
 * @module moonport.loader
 */

/*** The names of the embedded Lua files, in order.
 * @function files
 * @tparam[opt=""] string prefix such as "recipes/"
 * @treturn {string,...}
 */
static int l_files(lua_State *L) {
  size_t len;
  const char *prefix = luaL_optlstring(L, 1, "", &len);
  lua_Integer count = 0;
  lua_newtable(L);
  for (size_t i = 0; i < mp_embedded_count; i++) {
    if (strncmp(mp_embedded_files[i].name, prefix, len) == 0) {
      lua_pushstring(L, mp_embedded_files[i].name);
      lua_rawseti(L, -2, ++count);
    }
  }
  return 1;
}

/*** The text of a Lua file that is part of moonport, as it would be loaded now.
 * @function source
 * @tparam string name as `files` gives it
 * @treturn string|nil nil when there is no such file
 */
static int l_source(lua_State *L) {
  if (!push_source(L, luaL_checkstring(L, 1)))
    lua_pushnil(L);
  return 1;
}

/* Takes the relative directories out of package.path or package.cpath. */
static void keep_absolute(lua_State *L, const char *field) {
  luaL_Buffer kept;
  lua_getglobal(L, "package");
  lua_getfield(L, -1, field);
  const char *path = lua_isstring(L, -1) ? lua_tostring(L, -1) : "";
  luaL_buffinit(L, &kept);
  for (const char *item = path; *item;) {
    size_t len = strcspn(item, ";");
    if (*item == '/') {
      if (luaL_bufflen(&kept) > 0)
        luaL_addchar(&kept, ';');
      luaL_addlstring(&kept, item, len);
    }
    item += len + (item[len] == ';');
  }
  luaL_pushresult(&kept);
  lua_setfield(L, -3, field);
  lua_pop(L, 2);
}

/*** Looks for modules in absolute directories only, from now on. A command must not run what lies
 * in the directory where it happens to be called.
 * @function leave_working_directory
 */
static int l_leave_working_directory(lua_State *L) {
  keep_absolute(L, "path");
  keep_absolute(L, "cpath");
  return 0;
}

int luaopen_moonport_loader(lua_State *L) {
  static const luaL_Reg functions[] = {{"files", l_files},
                                       {"source", l_source},
                                       {"leave_working_directory", l_leave_working_directory},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
