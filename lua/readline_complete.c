/* TAB. */
#include "core/mem.h"
#include "readline_internal.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const mp_readline_api *rl;
static lua_State *state; /* the main thread */
static const char completer_key;

/* A list of strings as readline takes it: [0] is what they begin with, then each. */
typedef struct {
  char **items;
  size_t count; /* without [0] */
} matches;

static void matches_free(matches *list) {
  for (size_t i = 0; i <= list->count; i++)
    free(list->items[i]);
  free(list->items);
}

static matches matches_of(lua_State *L, int index) {
  matches list = {.count = (size_t)lua_rawlen(L, index)};
  list.items = mp_calloc(list.count + 2, sizeof *list.items);
  for (size_t i = 1; i <= list.count; i++) {
    lua_rawgeti(L, index, (lua_Integer)i);
    const char *text = lua_tostring(L, -1);
    list.items[i] = mp_strdup(text ? text : "");
    lua_pop(L, 1);
  }
  return list;
}

/* What all candidates begin with, cut between characters. */
static char *common_beginning(const matches *list) {
  size_t len = strlen(list->items[1]);
  for (size_t i = 2; i <= list->count; i++) {
    size_t same = 0;
    while (same < len && list->items[i][same] == list->items[1][same])
      same++;
    len = same;
  }
  while (len > 0 && (list->items[1][len] & 0xc0) == 0x80)
    len--;
  return mp_memdup(list->items[1], len);
}

static void put(int start, const char *text, const char *suffix) {
  rl->rl_begin_undo_group();
  rl->rl_delete_text(start, *rl->rl_point);
  *rl->rl_point = start;
  rl->rl_insert_text(text);
  if (suffix && (*rl->rl_line_buffer)[*rl->rl_point] != *suffix)
    rl->rl_insert_text(suffix);
  rl->rl_end_undo_group();
}

static void show_list(lua_State *L, matches *list, int labels) {
  matches shown = {0};
  if (lua_istable(L, labels))
    shown = matches_of(L, labels);
  matches *chosen = shown.items ? &shown : list;
  if (chosen->items[0] == NULL)
    chosen->items[0] = mp_strdup("");
  size_t longest = 0;
  for (size_t i = 1; i <= chosen->count; i++) {
    size_t len = strlen(chosen->items[i]);
    longest = len > longest ? len : longest;
  }
  rl->rl_display_match_list(chosen->items, (int)chosen->count, (int)longest);
  rl->rl_forced_update_display();
  if (shown.items)
    matches_free(&shown);
}

/* What the completer gave stands from `base` on: start, candidates, suffix, labels. */
static void apply(lua_State *L, int base) {
  if (!lua_isinteger(L, base) || !lua_istable(L, base + 1) || lua_rawlen(L, base + 1) == 0) {
    rl->rl_ding();
    return;
  }
  lua_Integer start = lua_tointeger(L, base);
  if (start < 0 || start > *rl->rl_point) {
    rl->rl_ding();
    return;
  }
  matches list = matches_of(L, base + 1);
  list.items[0] = common_beginning(&list);
  size_t typed = (size_t)(*rl->rl_point - start);
  size_t common = strlen(list.items[0]);
  bool adds = common > typed || strncmp(list.items[0], *rl->rl_line_buffer + start, typed) != 0;
  if (list.count == 1)
    put((int)start, list.items[1], lua_tostring(L, base + 2));
  else if (adds && common >= typed)
    put((int)start, list.items[0], NULL);
  else
    show_list(L, &list, base + 3);
  matches_free(&list);
}

static int complete(int count, int key) {
  (void)count;
  (void)key;
  lua_State *L = state;
  int top = lua_gettop(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &completer_key);
  lua_pushlstring(L, *rl->rl_line_buffer, (size_t)*rl->rl_end);
  lua_pushinteger(L, *rl->rl_point);
  if (lua_pcall(L, 2, 4, 0) == LUA_OK)
    apply(L, top + 1);
  else
    rl->rl_ding();
  lua_settop(L, top);
  return 0;
}

void mp_readline_set_completer(lua_State *L, const mp_readline_api *api) {
  rl = api;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  state = lua_tothread(L, -1);
  lua_pop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &completer_key);
  rl->rl_bind_key('\t', complete);
}
