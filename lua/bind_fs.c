#include "bind_fs.h"

#include "core/mem.h"
#include "errors.h"
#include "fs_job.h"
#include "gate.h"
#include "secret.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#define READ_MOST ((size_t)256 << 20) /* unless asked otherwise */

/* Arguments. A path with a zero byte would be another path to the kernel. */
static const char *check_path(lua_State *L, int index) {
  size_t len;
  const char *path = luaL_checklstring(L, index, &len);
  if (len == 0 || strlen(path) != len)
    mp_bad_argument(L, "argument %d is not a path: it %s", index,
                    len == 0 ? "is empty" : "contains a zero byte");
  return path;
}

static const char *check_body(lua_State *L, int index, size_t *len) {
  const char *bytes = mp_secret_tolstring(L, index, len);
  if (bytes == NULL)
    mp_bad_argument(L, "the body must be a string or a secret, not a %s", luaL_typename(L, index));
  return bytes;
}

/* A mode is a number or, as people write it, octal text: "0600". */
static mode_t to_mode(lua_State *L, int index) {
  lua_Integer mode = -1;
  if (lua_type(L, index) == LUA_TSTRING) {
    char *end;
    const char *text = lua_tostring(L, index);
    mode = strtol(text, &end, 8);
    if (*text == '\0' || *end)
      mode = -1;
  } else if (lua_isinteger(L, index)) {
    mode = lua_tointeger(L, index);
  }
  if (mode < 0 || mode > 07777)
    mp_bad_argument(L, "`%s` is not a file mode: write it like \"0644\"",
                    luaL_tolstring(L, index, NULL));
  return (mode_t)mode;
}

static void check_options(lua_State *L, int index) {
  if (!lua_isnoneornil(L, index))
    luaL_checktype(L, index, LUA_TTABLE);
}

/* Pushes a field of the options, or nil. */
static bool get_option(lua_State *L, int index, const char *name) {
  if (lua_isnoneornil(L, index))
    lua_pushnil(L);
  else
    lua_getfield(L, index, name);
  return !lua_isnil(L, -1);
}

static bool flag_option(lua_State *L, int index, const char *name, bool otherwise) {
  bool value = get_option(L, index, name) ? lua_toboolean(L, -1) : otherwise;
  lua_pop(L, 1);
  return value;
}

static mode_t mode_option(lua_State *L, int index, mode_t otherwise) {
  mode_t mode = get_option(L, index, "mode") ? to_mode(L, -1) : otherwise;
  lua_pop(L, 1);
  return mode;
}

/* Bytes; 0 where it is not given. */
static uint64_t size_option(lua_State *L, int index) {
  lua_Integer size = get_option(L, index, "size") ? luaL_checkinteger(L, -1) : 0;
  luaL_argcheck(L, size >= 0, index, "the size must not be negative");
  lua_pop(L, 1);
  return (uint64_t)size;
}

/* Reading */

static int run_read(fs_job *job) {
  return mp_fs_read(job->path, job->limit, &job->content, &job->wait.error);
}

static int push_content(lua_State *L, fs_job *job) {
  lua_pushlstring(L, job->content.data ? job->content.data : "", job->content.len);
  return 1;
}

static int l_read(lua_State *L) {
  const char *path = check_path(L, 1);
  lua_Integer limit = (lua_Integer)READ_MOST;
  check_options(L, 2);
  if (get_option(L, 2, "limit"))
    limit = luaL_checkinteger(L, -1);
  luaL_argcheck(L, limit >= 0, 2, "limit must not be negative");
  lua_settop(L, 1);
  fs_job *job = fs_job_new(L, "fs.read", run_read, push_content);
  job->path = path;
  job->limit = (size_t)limit;
  return fs_job_go(L, job);
}

static int run_read_at(fs_job *job) {
  return mp_fs_read_at(job->path, job->size, job->len, &job->content, &job->wait.error);
}

static int l_read_at(lua_State *L) {
  const char *path = check_path(L, 1);
  lua_Integer offset = luaL_checkinteger(L, 2), len = luaL_checkinteger(L, 3);
  luaL_argcheck(L, offset >= 0, 2, "the offset must not be negative");
  luaL_argcheck(L, len >= 0 && (size_t)len <= READ_MOST, 3,
                "not a length that can be read at once");
  fs_job *job = fs_job_new(L, "fs.read_at", run_read_at, push_content);
  job->path = path;
  job->size = (uint64_t)offset;
  job->len = (size_t)len;
  return fs_job_go(L, job);
}

static int run_stat(fs_job *job) {
  return mp_fs_stat(job->path, job->follow, &job->st, &job->wait.error);
}

static void set_integer(lua_State *L, const char *name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static void set_time(lua_State *L, const char *name, struct timespec time) {
  lua_pushnumber(L, (lua_Number)time.tv_sec + (lua_Number)time.tv_nsec / 1e9);
  lua_setfield(L, -2, name);
}

static int push_stat(lua_State *L, fs_job *job) {
  const struct stat *st = &job->st;
  lua_createtable(L, 0, 12);
  lua_pushstring(L, mp_fs_type(st->st_mode));
  lua_setfield(L, -2, "type");
  set_integer(L, "mode", st->st_mode & 07777);
  set_integer(L, "uid", st->st_uid);
  set_integer(L, "gid", st->st_gid);
  set_integer(L, "size", st->st_size);
  set_integer(L, "blocks", st->st_blocks);
  set_integer(L, "ino", (lua_Integer)st->st_ino);
  set_integer(L, "dev", (lua_Integer)st->st_dev);
  set_integer(L, "nlink", (lua_Integer)st->st_nlink);
  set_time(L, "mtime", st->st_mtim);
  set_time(L, "ctime", st->st_ctim);
  set_time(L, "atime", st->st_atim);
  return 1;
}

static int l_stat(lua_State *L) {
  const char *path = check_path(L, 1);
  check_options(L, 2);
  bool follow = flag_option(L, 2, "follow", true);
  fs_job *job = fs_job_new(L, "fs.stat", run_stat, push_stat);
  job->path = path;
  job->follow = follow;
  return fs_job_go(L, job);
}

/* Whether it exists is only known where it can be looked for: EACCES is an error. */
static int run_exists(fs_job *job) {
  if (mp_fs_stat(job->path, true, &job->st, &job->wait.error) == 0) {
    job->flag = true;
    return 0;
  }
  if (!mp_error_is(&job->wait.error, "ENOENT") && !mp_error_is(&job->wait.error, "ENOTDIR"))
    return -1;
  mp_error_reset(&job->wait.error);
  return 0;
}

static int push_flag(lua_State *L, fs_job *job) {
  lua_pushboolean(L, job->flag);
  return 1;
}

static int l_exists(lua_State *L) {
  const char *path = check_path(L, 1);
  fs_job *job = fs_job_new(L, "fs.exists", run_exists, push_flag);
  job->path = path;
  return fs_job_go(L, job);
}

static int run_list(fs_job *job) {
  return mp_fs_list(job->path, &job->entries, &job->wait.error);
}

static int push_entries(lua_State *L, fs_job *job) {
  lua_createtable(L, (int)job->entries.count, 0);
  for (size_t i = 0; i < job->entries.count; i++) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, job->entries.items[i].name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, job->entries.items[i].type);
    lua_setfield(L, -2, "type");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int l_list(lua_State *L) {
  const char *path = check_path(L, 1);
  fs_job *job = fs_job_new(L, "fs.list", run_list, push_entries);
  job->path = path;
  return fs_job_go(L, job);
}

static int run_readlink(fs_job *job) {
  return (job->text = mp_fs_readlink(job->path, &job->wait.error)) ? 0 : -1;
}

static int l_readlink(lua_State *L) {
  const char *path = check_path(L, 1);
  fs_job *job = fs_job_new(L, "fs.readlink", run_readlink, fs_push_text);
  job->path = path;
  return fs_job_go(L, job);
}

static int run_realpath(fs_job *job) {
  return (job->text = mp_fs_realpath(job->path, &job->wait.error)) ? 0 : -1;
}

static int l_realpath(lua_State *L) {
  const char *path = check_path(L, 1);
  fs_job *job = fs_job_new(L, "fs.realpath", run_realpath, fs_push_text);
  job->path = path;
  return fs_job_go(L, job);
}

static int run_trusted(fs_job *job) {
  return mp_fs_trusted(job->path, &job->wait.error);
}

static int l_check_trusted(lua_State *L) {
  const char *path = check_path(L, 1);
  fs_job *job = fs_job_new(L, "fs.check_trusted", run_trusted, fs_push_nothing);
  job->path = path;
  return fs_job_go(L, job);
}

/* Writing */

static int run_write(fs_job *job) {
  mp_fs_write_options options = {
      .mode = job->mode, .exclusive = job->exclusive, .no_sync = job->no_sync};
  return mp_fs_write(job->path, job->bytes, job->len, &options, &job->wait.error);
}

static int l_write(lua_State *L) {
  const char *path = check_path(L, 1);
  check_options(L, 3);
  mp_gate(L, "fs.write", "write `%s`", path);
  size_t len;
  const char *bytes = check_body(L, 2, &len);
  mode_t mode = mode_option(L, 3, 0);
  bool exclusive = flag_option(L, 3, "exclusive", false);
  bool sync = flag_option(L, 3, "sync", true);
  fs_job *job = fs_job_new(L, "fs.write", run_write, fs_push_nothing);
  job->path = path;
  job->bytes = bytes;
  job->len = len;
  job->mode = mode;
  job->exclusive = exclusive;
  job->no_sync = !sync;
  return fs_job_go(L, job);
}

static int run_append(fs_job *job) {
  return mp_fs_append(job->path, job->bytes, job->len, job->mode, &job->wait.error);
}

static int l_append(lua_State *L) {
  const char *path = check_path(L, 1);
  check_options(L, 3);
  mp_gate(L, "fs.append", "append to `%s`", path);
  size_t len;
  const char *bytes = check_body(L, 2, &len);
  mode_t mode = mode_option(L, 3, 0666);
  fs_job *job = fs_job_new(L, "fs.append", run_append, fs_push_nothing);
  job->path = path;
  job->bytes = bytes;
  job->len = len;
  job->mode = mode;
  return fs_job_go(L, job);
}

static int run_mkdirs(fs_job *job) {
  return mp_fs_mkdirs(job->path, job->mode, &job->wait.error);
}

static int l_mkdirs(lua_State *L) {
  const char *path = check_path(L, 1);
  mode_t mode = lua_isnoneornil(L, 2) ? 0755 : to_mode(L, 2);
  mp_gate(L, "fs.mkdirs", "make the directory `%s`", path);
  fs_job *job = fs_job_new(L, "fs.mkdirs", run_mkdirs, fs_push_nothing);
  job->path = path;
  job->mode = mode;
  return fs_job_go(L, job);
}

static int run_remove(fs_job *job) {
  if (mp_fs_remove(job->path, &job->wait.error) == 0)
    return 0;
  if (!job->flag || !mp_error_is(&job->wait.error, "ENOENT"))
    return -1;
  mp_error_reset(&job->wait.error);
  return 0;
}

static int l_remove(lua_State *L) {
  const char *path = check_path(L, 1);
  check_options(L, 2);
  mp_gate(L, "fs.remove", "remove `%s`", path);
  bool if_exists = flag_option(L, 2, "if_exists", false);
  fs_job *job = fs_job_new(L, "fs.remove", run_remove, fs_push_nothing);
  job->path = path;
  job->flag = if_exists;
  return fs_job_go(L, job);
}

static int run_remove_tree(fs_job *job) {
  return mp_fs_remove_tree(job->path, job->flag, &job->stop, &job->wait.error);
}

static int l_remove_tree(lua_State *L) {
  const char *path = check_path(L, 1);
  check_options(L, 2);
  mp_gate(L, "fs.remove_tree", "remove `%s` and all below it", path);
  bool cross_mounts = flag_option(L, 2, "cross_mounts", false);
  fs_job *job = fs_job_new(L, "fs.remove_tree", run_remove_tree, fs_push_nothing);
  job->path = path;
  job->flag = cross_mounts;
  return fs_job_go(L, job);
}

static int run_rename(fs_job *job) {
  return mp_fs_rename(job->path, job->other, job->exclusive, &job->wait.error);
}

static int l_rename(lua_State *L) {
  const char *from = check_path(L, 1), *to = check_path(L, 2);
  check_options(L, 3);
  mp_gate(L, "fs.rename", "rename `%s` to `%s`", from, to);
  bool exclusive = flag_option(L, 3, "exclusive", false);
  fs_job *job = fs_job_new(L, "fs.rename", run_rename, fs_push_nothing);
  job->path = from;
  job->other = to;
  job->exclusive = exclusive;
  return fs_job_go(L, job);
}

static int run_copy(fs_job *job) {
  mp_fs_copy_options options = {.mode = job->mode,
                                .exclusive = job->exclusive,
                                .no_sync = job->no_sync,
                                .reflink_only = job->flag,
                                .size = job->size};
  return mp_fs_copy(job->path, job->other, &options, &job->copied, &job->stop, &job->wait.error);
}

static int push_copied(lua_State *L, fs_job *job) {
  lua_createtable(L, 0, 2);
  lua_pushstring(L, job->copied.method);
  lua_setfield(L, -2, "method");
  set_integer(L, "bytes", (lua_Integer)job->copied.bytes);
  return 1;
}

static int l_copy(lua_State *L) {
  const char *from = check_path(L, 1), *to = check_path(L, 2);
  check_options(L, 3);
  mp_gate(L, "fs.copy", "write `%s`", to);
  mode_t mode = mode_option(L, 3, 0);
  bool exclusive = flag_option(L, 3, "exclusive", false);
  bool sync = flag_option(L, 3, "sync", true);
  bool reflink_only = flag_option(L, 3, "reflink_only", false);
  uint64_t size = size_option(L, 3);
  fs_job *job = fs_job_new(L, "fs.copy", run_copy, push_copied);
  job->path = from;
  job->other = to;
  job->mode = mode;
  job->exclusive = exclusive;
  job->no_sync = !sync;
  job->flag = reflink_only;
  job->size = size;
  return fs_job_go(L, job);
}

static int run_sparse(fs_job *job) {
  return mp_fs_sparse(job->path, job->size, job->mode, job->no_sync, &job->size, &job->wait.error);
}

static int push_size(lua_State *L, fs_job *job) {
  lua_pushinteger(L, (lua_Integer)job->size);
  return 1;
}

static int l_sparse(lua_State *L) {
  const char *path = check_path(L, 1);
  lua_Integer size = luaL_checkinteger(L, 2);
  check_options(L, 3);
  luaL_argcheck(L, size >= 0, 2, "the size must not be negative");
  mp_gate(L, "fs.sparse", "write `%s`", path);
  mode_t mode = mode_option(L, 3, 0600);
  bool sync = flag_option(L, 3, "sync", true);
  fs_job *job = fs_job_new(L, "fs.sparse", run_sparse, push_size);
  job->path = path;
  job->no_sync = !sync;
  job->size = (uint64_t)size;
  job->mode = mode;
  return fs_job_go(L, job);
}

static int run_sync(fs_job *job) {
  return mp_fs_sync(job->path, job->flag, &job->wait.error);
}

/* Changes nothing that anybody can see. */
static int l_sync(lua_State *L) {
  const char *path = check_path(L, 1);
  check_options(L, 2);
  bool name = flag_option(L, 2, "name", true);
  fs_job *job = fs_job_new(L, "fs.sync", run_sync, fs_push_nothing);
  job->path = path;
  job->flag = name;
  return fs_job_go(L, job);
}

static int run_chmod(fs_job *job) {
  return mp_fs_chmod(job->path, job->mode, &job->wait.error);
}

static int l_chmod(lua_State *L) {
  const char *path = check_path(L, 1);
  luaL_checkany(L, 2);
  mode_t mode = to_mode(L, 2);
  mp_gate(L, "fs.chmod", "set the mode of `%s`", path);
  fs_job *job = fs_job_new(L, "fs.chmod", run_chmod, fs_push_nothing);
  job->path = path;
  job->mode = mode;
  return fs_job_go(L, job);
}

static int unknown_account(fs_job *job, const char *kind, const char *name) {
  return mp_error_set(&job->wait.error, "fs", MP_INVALID, "there is no %s `%s`", kind, name);
}

static int resolve_owner(fs_job *job) {
  char space[16384];
  struct passwd user, *found_user = NULL;
  struct group group, *found_group = NULL;
  if (job->owner) {
    getpwnam_r(job->owner, &user, space, sizeof space, &found_user);
    if (found_user == NULL)
      return unknown_account(job, "user", job->owner);
    job->uid = user.pw_uid;
  }
  if (job->group) {
    getgrnam_r(job->group, &group, space, sizeof space, &found_group);
    if (found_group == NULL)
      return unknown_account(job, "group", job->group);
    job->gid = group.gr_gid;
  }
  return 0;
}

static int run_chown(fs_job *job) {
  if (resolve_owner(job) < 0)
    return -1;
  return mp_fs_chown(job->path, job->uid, job->gid, job->follow, &job->wait.error);
}

/* An id, or a name to be looked up on the pool; nil leaves it as it is. */
static uint32_t check_account(lua_State *L, int index, const char **name) {
  *name = NULL;
  if (lua_isnoneornil(L, index))
    return (uint32_t)-1;
  if (lua_type(L, index) == LUA_TSTRING) {
    *name = lua_tostring(L, index);
    return 0;
  }
  lua_Integer id = luaL_checkinteger(L, index);
  luaL_argcheck(L, id >= 0 && id < UINT32_MAX, index, "not an id");
  return (uint32_t)id;
}

static int l_chown(lua_State *L) {
  const char *path = check_path(L, 1), *owner, *group;
  uid_t uid = check_account(L, 2, &owner);
  gid_t gid = check_account(L, 3, &group);
  check_options(L, 4);
  mp_gate(L, "fs.chown", "set the owner of `%s`", path);
  bool follow = flag_option(L, 4, "follow", true);
  fs_job *job = fs_job_new(L, "fs.chown", run_chown, fs_push_nothing);
  job->path = path;
  job->owner = owner;
  job->group = group;
  job->uid = uid;
  job->gid = gid;
  job->follow = follow;
  return fs_job_go(L, job);
}

static int run_symlink(fs_job *job) {
  return mp_fs_symlink(job->other, job->path, job->flag, &job->wait.error);
}

static int l_symlink(lua_State *L) {
  const char *target = check_path(L, 1), *path = check_path(L, 2);
  check_options(L, 3);
  mp_gate(L, "fs.symlink", "make the symbolic link `%s`", path);
  bool replace = flag_option(L, 3, "replace", false);
  fs_job *job = fs_job_new(L, "fs.symlink", run_symlink, fs_push_nothing);
  job->path = path;
  job->other = target;
  job->flag = replace;
  return fs_job_go(L, job);
}

static int run_temp_dir(fs_job *job) {
  return (job->text = mp_fs_temp_dir(job->path, job->other, &job->wait.error)) ? 0 : -1;
}

static int run_temp_file(fs_job *job) {
  return (job->text = mp_fs_temp_file(job->path, job->other, &job->wait.error)) ? 0 : -1;
}

/* temp_dir and temp_file: options parent, prefix. */
static int make_temp(lua_State *L, const char *what, int (*run)(fs_job *job)) {
  lua_settop(L, 1);
  check_options(L, 1);
  mp_gate(L, what, NULL);
  const char *parent = get_option(L, 1, "parent") ? check_path(L, 2) : NULL;
  const char *prefix = get_option(L, 1, "prefix") ? check_path(L, 3) : "moonport-";
  if (strchr(prefix, '/'))
    return mp_bad_argument(L, "the prefix `%s` contains a slash", prefix);
  fs_job *job = fs_job_new(L, what, run, fs_push_text);
  job->path = parent;
  job->other = prefix;
  return fs_job_go(L, job);
}

static int l_temp_dir(lua_State *L) {
  return make_temp(L, "fs.temp_dir", run_temp_dir);
}

static int l_temp_file(lua_State *L) {
  return make_temp(L, "fs.temp_file", run_temp_file);
}

int luaopen_moonport_fs(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"append", l_append},
      {"check_trusted", l_check_trusted},
      {"chmod", l_chmod},
      {"chown", l_chown},
      {"copy", l_copy},
      {"exists", l_exists},
      {"list", l_list},
      {"mkdirs", l_mkdirs},
      {"read", l_read},
      {"read_at", l_read_at},
      {"readlink", l_readlink},
      {"realpath", l_realpath},
      {"remove", l_remove},
      {"remove_tree", l_remove_tree},
      {"rename", l_rename},
      {"sparse", l_sparse},
      {"stat", l_stat},
      {"symlink", l_symlink},
      {"sync", l_sync},
      {"temp_dir", l_temp_dir},
      {"temp_file", l_temp_file},
      {"write", l_write},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  fs_set_paths(L);
  fs_set_locks(L);
  return 1;
}
