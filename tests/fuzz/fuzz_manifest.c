/* Manifests: whatever the source, the child's answer is one JSON object with `ok` or `error`. */
#include "fuzz_lua.h"

#include "lua/bind_json.h"
#include "lua/manifest_eval.h"

static lua_State *L;

/* The answer is JSON that decodes to a table with exactly one of the two fields. */
static void check_answer(const mp_buf *answer) {
  lua_pushlstring(L, answer->data, answer->len);
  promise(call(L, "decode", 1), "answer in JSON");
  promise(lua_istable(L, -1), "answer with an object");
  bool ok = lua_getfield(L, -1, "ok") != LUA_TNIL;
  bool error = lua_getfield(L, -2, "error") != LUA_TNIL;
  promise(ok != error, "answer with `ok` or with `error`");
  if (error) {
    lua_getfield(L, -1, "message");
    promise(lua_isstring(L, -1), "say what is wrong");
  }
  lua_settop(L, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (L == NULL)
    L = state_with(luaopen_moonport_json);
  mp_buf answer = MP_BUF_INIT;
  mp_manifest_eval((const char *)data, size, &answer);
  check_answer(&answer);
  mp_buf_free(&answer);
  return 0;
}
