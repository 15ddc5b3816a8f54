#include "node.h"

#include "core/encode.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MOST 64
#define JSON_MOST (64u << 10)
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- errors --------------------------------------------------------------------------------- */

unsigned mp_kube_line(const yaml_node_t *node) {
  return node ? (unsigned)node->start_mark.line + 1 : 0;
}

static int fail_at(mp_kube_reader *reader, unsigned line, const char *what) {
  const char *path = reader->path.len > 0 ? reader->path.data : "";
  mp_kube_fault_set(reader->fault, reader->file, line, path);
  mp_auto_free char *place =
      line > 0 ? mp_sprintf("%s:%u", reader->file, line) : mp_strdup(reader->file);
  if (*path)
    return mp_error_set(reader->err, "kube", MP_KUBE_CONFIG, "%s: `%s` %s", place, path, what);
  return mp_error_set(reader->err, "kube", MP_KUBE_CONFIG, "%s: %s", place, what);
}

int mp_kube_reader_fail(mp_kube_reader *reader, const yaml_node_t *node, const char *format, ...) {
  va_list args;
  va_start(args, format);
  mp_auto_free char *what = mp_vsprintf(format, args);
  va_end(args);
  return fail_at(reader, mp_kube_line(node), what);
}

/* ---- the path ------------------------------------------------------------------------------- */

size_t mp_kube_enter(mp_kube_reader *reader, const char *name) {
  size_t mark = reader->path.len;
  mp_buf_printf(&reader->path, mark > 0 ? ".%s" : "%s", name);
  return mark;
}

size_t mp_kube_enter_at(mp_kube_reader *reader, size_t index) {
  size_t mark = reader->path.len;
  mp_buf_printf(&reader->path, "[%zu]", index);
  return mark;
}

void mp_kube_leave(mp_kube_reader *reader, size_t mark) {
  reader->path.len = mark;
  reader->path.data[mark] = '\0';
}

/* ---- open and close ------------------------------------------------------------------------- */

static int fail_parser(mp_kube_reader *reader, const yaml_parser_t *parser) {
  bool unreadable = parser->error == YAML_READER_ERROR;
  mp_auto_free char *what =
      mp_sprintf("not YAML: %s%s%s", parser->problem ? parser->problem : "cannot be read",
                 parser->context ? " " : "", parser->context ? parser->context : "");
  return fail_at(reader, unreadable ? 0 : (unsigned)parser->problem_mark.line + 1, what);
}

int mp_kube_reader_open(mp_kube_reader *reader, const char *file, const char *text, size_t len,
                        yaml_node_t **root, mp_kube_fault *fault, mp_error *err) {
  *reader = (mp_kube_reader){.file = file, .fault = fault, .err = err};
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser))
    abort();
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
  int rc = yaml_parser_load(&parser, &reader->document) ? 0 : fail_parser(reader, &parser);
  yaml_parser_delete(&parser);
  if (rc == 0)
    *root = yaml_document_get_root_node(&reader->document);
  else
    memset(&reader->document, 0, sizeof reader->document);
  return rc;
}

void mp_kube_reader_close(mp_kube_reader *reader) {
  if (reader->document.nodes.start)
    yaml_document_delete(&reader->document);
  mp_buf_free(&reader->path);
}

/* ---- kinds ---------------------------------------------------------------------------------- */

typedef enum { NOTHING, FLAG, NUMBER, TEXT, LIST, MAP } kind;

static const char *const kind_names[] = {
    [NOTHING] = "null",  [FLAG] = "a boolean", [NUMBER] = "a number",
    [TEXT] = "a string", [LIST] = "a list",    [MAP] = "a map"};

static bool one_of(const char *text, const char *const *words, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(text, words[i]) == 0)
      return true;
  }
  return false;
}

static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES",
                                    "on",   "On",   "ON",   "y",   "Y"};
static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO",
                                     "off",   "Off",   "OFF",   "n",  "N"};
static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
static const char *const specials[] = {".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF",
                                       "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"};

static bool all_of(const char *text, const char *set) {
  return *text && text[strspn(text, set)] == '\0';
}

static bool is_integer(const char *text) {
  if (*text == '-' || *text == '+')
    text++;
  if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
    return all_of(text + 2, "0123456789abcdefABCDEF");
  if (text[0] == '0' && (text[1] == 'b' || text[1] == 'B'))
    return all_of(text + 2, "01");
  if (text[0] == '0' && (text[1] == 'o' || text[1] == 'O'))
    return all_of(text + 2, "01234567");
  return all_of(text, "0123456789");
}

/* [-+]?(.[0-9]+|[0-9]+(.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(const char *text) {
  if (*text == '-' || *text == '+')
    text++;
  size_t digits = strspn(text, "0123456789");
  text += digits;
  if (*text == '.') {
    size_t more = strspn(++text, "0123456789");
    text += more;
    digits += more;
  }
  if (digits == 0)
    return false;
  if (*text == 'e' || *text == 'E') {
    text++;
    if (*text == '-' || *text == '+')
      text++;
    return all_of(text, "0123456789");
  }
  return *text == '\0';
}

static bool is_number(const char *text) {
  if (!strchr("+-.0123456789", *text))
    return false;
  mp_auto_free char *plain = mp_strdup(text);
  char *to = plain;
  for (const char *at = text; *at; at++) {
    if (*at != '_')
      *to++ = *at;
  }
  *to = '\0';
  return is_integer(plain) || is_float(plain) || one_of(plain, specials, COUNT(specials));
}

static bool has_tag(const yaml_node_t *node, const char *tag) {
  return node->tag && strcmp((const char *)node->tag, tag) == 0;
}

static kind kind_of(const yaml_node_t *node) {
  if (!node || node->type == YAML_NO_NODE)
    return NOTHING;
  if (node->type == YAML_SEQUENCE_NODE)
    return LIST;
  if (node->type == YAML_MAPPING_NODE)
    return MAP;
  const char *text = (const char *)node->data.scalar.value;
  /* libyaml gives every scalar without a tag the string's; only a plain one can be anything else.
   */
  if (has_tag(node, YAML_STR_TAG) && node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
    return TEXT;
  if (strlen(text) != node->data.scalar.length)
    return TEXT;
  if (one_of(text, nulls, COUNT(nulls)))
    return NOTHING;
  if (one_of(text, trues, COUNT(trues)) || one_of(text, falses, COUNT(falses)))
    return FLAG;
  return is_number(text) ? NUMBER : TEXT;
}

static int wrong(mp_kube_reader *reader, const yaml_node_t *node, kind wanted) {
  kind is = kind_of(node);
  mp_kube_reader_fail(reader, node, "must be %s, and is %s", kind_names[wanted], kind_names[is]);
  if (wanted == TEXT && (is == FLAG || is == NUMBER))
    mp_error_hint(reader->err, "put it in quotes");
  return -1;
}

int mp_kube_expect_map(mp_kube_reader *reader, yaml_node_t **node) {
  kind is = kind_of(*node);
  if (is == NOTHING)
    *node = NULL;
  return is == NOTHING || is == MAP ? 0 : wrong(reader, *node, MAP);
}

int mp_kube_expect_list(mp_kube_reader *reader, yaml_node_t **node) {
  kind is = kind_of(*node);
  if (is == NOTHING)
    *node = NULL;
  return is == NOTHING || is == LIST ? 0 : wrong(reader, *node, LIST);
}

/* ---- maps and lists ------------------------------------------------------------------------- */

static yaml_node_t *node_at(mp_kube_reader *reader, int index) {
  return yaml_document_get_node(&reader->document, index);
}

bool mp_kube_next(mp_kube_reader *reader, const yaml_node_t *map, size_t *at, const char **name,
                  yaml_node_t **value) {
  if (!map)
    return false;
  const yaml_node_pair_t *first = map->data.mapping.pairs.start;
  size_t count = (size_t)(map->data.mapping.pairs.top - first);
  while (*at < count) {
    const yaml_node_pair_t *pair = &first[(*at)++];
    const yaml_node_t *key = node_at(reader, pair->key);
    if (!key || key->type != YAML_SCALAR_NODE)
      continue;
    *name = (const char *)key->data.scalar.value;
    *value = node_at(reader, pair->value);
    return true;
  }
  return false;
}

static yaml_node_t *find(mp_kube_reader *reader, const yaml_node_t *map, const char *name,
                         int depth);

/* `<<` holds a map or a list of maps, of which the first counts. */
static yaml_node_t *find_merged(mp_kube_reader *reader, const yaml_node_t *from, const char *name,
                                int depth) {
  if (depth > DEPTH_MOST || !from)
    return NULL;
  if (from->type == YAML_MAPPING_NODE)
    return find(reader, from, name, depth + 1);
  for (size_t i = 0; i < mp_kube_length(from); i++) {
    yaml_node_t *found = find_merged(reader, mp_kube_element(reader, from, i), name, depth + 1);
    if (found)
      return found;
  }
  return NULL;
}

static yaml_node_t *find(mp_kube_reader *reader, const yaml_node_t *map, const char *name,
                         int depth) {
  yaml_node_t *found = NULL, *value;
  const yaml_node_t *merged = NULL;
  const char *key;
  for (size_t at = 0; mp_kube_next(reader, map, &at, &key, &value);) {
    if (strcmp(key, name) == 0)
      found = value;
    else if (strcmp(key, "<<") == 0)
      merged = value;
  }
  return found ? found : find_merged(reader, merged, name, depth);
}

yaml_node_t *mp_kube_member(mp_kube_reader *reader, yaml_node_t *map, const char *name) {
  yaml_node_t *found = find(reader, map, name, 0);
  return kind_of(found) == NOTHING ? NULL : found;
}

size_t mp_kube_length(const yaml_node_t *list) {
  if (!list || list->type != YAML_SEQUENCE_NODE)
    return 0;
  return (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
}

yaml_node_t *mp_kube_element(mp_kube_reader *reader, const yaml_node_t *list, size_t index) {
  return node_at(reader, list->data.sequence.items.start[index]);
}

/* ---- values --------------------------------------------------------------------------------- */

static void set(mp_kube_reader *reader, const yaml_node_t *node, mp_kube_value *to,
                const char *text, size_t len) {
  mp_kube_value_free(to);
  *to = (mp_kube_value){.text = mp_memdup(text, len),
                        .len = len,
                        .from = "kubeconfig",
                        .file = reader->file,
                        .line = mp_kube_line(node)};
}

int mp_kube_read_text(mp_kube_reader *reader, const yaml_node_t *node, mp_kube_value *to) {
  if (kind_of(node) == NOTHING)
    return 0;
  if (kind_of(node) != TEXT)
    return wrong(reader, node, TEXT);
  const char *text = (const char *)node->data.scalar.value;
  if (strlen(text) != node->data.scalar.length)
    return mp_kube_reader_fail(reader, node, "contains a NUL byte");
  if (*text) /* an empty string counts as not set */
    set(reader, node, to, text, node->data.scalar.length);
  return 0;
}

int mp_kube_read_flag(mp_kube_reader *reader, const yaml_node_t *node, mp_kube_value *to) {
  if (kind_of(node) == NOTHING)
    return 0;
  if (kind_of(node) != FLAG)
    return wrong(reader, node, FLAG);
  bool on = one_of((const char *)node->data.scalar.value, trues, COUNT(trues));
  set(reader, node, to, on ? "true" : "false", on ? 4 : 5);
  return 0;
}

int mp_kube_read_base64(mp_kube_reader *reader, const yaml_node_t *node, mp_kube_value *to) {
  if (kind_of(node) == NOTHING)
    return 0;
  if (kind_of(node) != TEXT)
    return wrong(reader, node, TEXT);
  mp_buf bytes = MP_BUF_INIT;
  mp_auto_error mp_error why = MP_ERROR_INIT;
  int rc = mp_base64_decode(&bytes, (const char *)node->data.scalar.value, node->data.scalar.length,
                            &why);
  if (rc < 0)
    mp_kube_reader_fail(reader, node, "is not base64: %s", why.message);
  else if (bytes.len > 0)
    set(reader, node, to, bytes.data, bytes.len);
  if (bytes.data)
    explicit_bzero(bytes.data, bytes.cap);
  mp_buf_free(&bytes);
  return rc;
}

int mp_kube_read_texts(mp_kube_reader *reader, yaml_node_t *node, mp_kube_list *to) {
  if (mp_kube_expect_list(reader, &node) < 0)
    return -1;
  size_t count = mp_kube_length(node);
  to->items = mp_calloc(count + 1, sizeof *to->items);
  for (size_t i = 0; i < count; i++) {
    const yaml_node_t *item = mp_kube_element(reader, node, i);
    size_t mark = mp_kube_enter_at(reader, i);
    mp_kube_value *value = &to->items[to->count++];
    if (mp_kube_read_text(reader, item, value) < 0)
      return -1;
    if (!value->text) /* here an empty one counts */
      set(reader, item, value, "", 0);
    mp_kube_leave(reader, mark);
  }
  return 0;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void put_text(mp_buf *out, const char *text, size_t len) {
  mp_buf_puts(out, "\"");
  mp_json_escape(out, text, len);
  mp_buf_puts(out, "\"");
}

/* Numbers that JSON would not take as they stand are made so. */
static void put_number(mp_buf *out, const char *text) {
  double number = strtod(text, NULL);
  bool plain = all_of(text + (*text == '-'), "0123456789") &&
               (text[*text == '-'] != '0' || text[1 + (*text == '-')] == '\0');
  if (plain)
    mp_buf_puts(out, text);
  else if (isfinite(number))
    mp_buf_printf(out, "%.17g", number);
  else
    mp_buf_puts(out, "null");
}

static int put(mp_kube_reader *reader, yaml_node_t *node, mp_buf *out, int depth);

static int put_map(mp_kube_reader *reader, yaml_node_t *node, mp_buf *out, int depth) {
  const char *name, *separator = "{";
  yaml_node_t *value;
  for (size_t at = 0; mp_kube_next(reader, node, &at, &name, &value); separator = ",") {
    mp_buf_puts(out, separator);
    put_text(out, name, strlen(name));
    mp_buf_puts(out, ":");
    if (put(reader, value, out, depth + 1) < 0)
      return -1;
  }
  mp_buf_puts(out, *separator == '{' ? "{}" : "}");
  return 0;
}

static int put_list(mp_kube_reader *reader, yaml_node_t *node, mp_buf *out, int depth) {
  mp_buf_puts(out, "[");
  for (size_t i = 0; i < mp_kube_length(node); i++) {
    if (i > 0)
      mp_buf_puts(out, ",");
    if (put(reader, mp_kube_element(reader, node, i), out, depth + 1) < 0)
      return -1;
  }
  mp_buf_puts(out, "]");
  return 0;
}

static int put(mp_kube_reader *reader, yaml_node_t *node, mp_buf *out, int depth) {
  if (depth > DEPTH_MOST || out->len > JSON_MOST)
    return mp_kube_reader_fail(reader, node, "is nested too deeply or too long");
  switch (kind_of(node)) {
  case NOTHING:
    mp_buf_puts(out, "null");
    return 0;
  case FLAG:
    mp_buf_puts(out, one_of((const char *)node->data.scalar.value, trues, COUNT(trues)) ? "true"
                                                                                        : "false");
    return 0;
  case NUMBER:
    put_number(out, (const char *)node->data.scalar.value);
    return 0;
  case TEXT:
    put_text(out, (const char *)node->data.scalar.value, node->data.scalar.length);
    return 0;
  case LIST:
    return put_list(reader, node, out, depth);
  case MAP:
    return put_map(reader, node, out, depth);
  }
  return 0;
}

int mp_kube_read_json(mp_kube_reader *reader, yaml_node_t *node, mp_kube_value *to) {
  mp_auto_buf mp_buf out = MP_BUF_INIT;
  if (!node)
    return 0;
  if (put(reader, node, &out, 0) < 0)
    return -1;
  set(reader, node, to, out.data, out.len);
  return 0;
}
