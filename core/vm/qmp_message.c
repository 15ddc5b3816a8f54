#include "qmp_message.h"

#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 256, EXCERPT = 60 };

typedef struct {
  const char *at, *end;
} cursor;

static void skip_space(cursor *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r' || *c->at == '\n'))
    c->at++;
}

/* Past a character that must be there now. */
static bool take(cursor *c, char wanted) {
  skip_space(c);
  if (c->at == c->end || *c->at != wanted)
    return false;
  c->at++;
  return true;
}

/* From an opening quote to behind the closing one. */
static bool skip_string(cursor *c) {
  for (c->at++; c->at < c->end; c->at++) {
    if (*c->at == '"') {
      c->at++;
      return true;
    }
    if (*c->at == '\\' && ++c->at == c->end)
      return false;
  }
  return false;
}

static bool ends_scalar(char byte) {
  return strchr(" \t\r\n,:]}[{\"", byte) != NULL;
}

static bool skip_scalar(cursor *c) {
  const char *start = c->at;
  while (c->at < c->end && *c->at != '\0' && !ends_scalar(*c->at))
    c->at++;
  return c->at > start;
}

/* Brackets that match, and strings; not the grammar between them. */
static bool skip_nested(cursor *c) {
  char closing[DEPTH_MAX];
  size_t depth = 0;
  while (c->at < c->end) {
    char byte = *c->at;
    if (byte == '"') {
      if (!skip_string(c))
        return false;
      continue;
    }
    c->at++;
    if (byte == '{' || byte == '[') {
      if (depth == DEPTH_MAX)
        return false;
      closing[depth++] = byte == '{' ? '}' : ']';
    } else if (byte == '}' || byte == ']') {
      if (closing[--depth] != byte)
        return false;
      if (depth == 0)
        return true;
    }
  }
  return false;
}

static bool take_value(cursor *c, mp_qmp_part *value) {
  skip_space(c);
  if (c->at == c->end)
    return false;
  const char *start = c->at;
  bool whole;
  if (*start == '"')
    whole = skip_string(c);
  else if (*start == '{' || *start == '[')
    whole = skip_nested(c);
  else
    whole = skip_scalar(c);
  *value = (mp_qmp_part){start, (size_t)(c->at - start)};
  return whole;
}

/* The next member of the object that the cursor is in. 1: one; 0: the object has ended; -1: it is
 * broken. */
static int next_member(cursor *c, bool first, mp_qmp_part *name, mp_qmp_part *value) {
  if (take(c, '}'))
    return 0;
  if (!first && !take(c, ','))
    return -1;
  skip_space(c);
  if (c->at == c->end || *c->at != '"' || !take_value(c, name) || !take(c, ':') ||
      !take_value(c, value))
    return -1;
  return 1;
}

static bool is_named(mp_qmp_part name, const char *wanted) {
  size_t len = strlen(wanted);
  return name.len == len + 2 && memcmp(name.text + 1, wanted, len) == 0;
}

mp_qmp_part mp_qmp_member(mp_qmp_part object, const char *wanted) {
  cursor c = {object.text, object.text ? object.text + object.len : NULL};
  mp_qmp_part name, value, found = {0};
  if (object.text == NULL || !take(&c, '{'))
    return found;
  int more;
  for (bool first = true; (more = next_member(&c, first, &name, &value)) > 0; first = false)
    if (is_named(name, wanted))
      found = value;
  return more == 0 ? found : (mp_qmp_part){0};
}

/* -- Values ----------------------------------------------------------------------------------- */

static bool read_number(mp_qmp_part value, uint64_t *number) {
  if (value.text == NULL || value.len == 0 || value.len > 18)
    return false;
  *number = 0;
  for (size_t i = 0; i < value.len; i++) {
    if (value.text[i] < '0' || value.text[i] > '9')
      return false;
    *number = *number * 10 + (uint64_t)(value.text[i] - '0');
  }
  return true;
}

static int read_hex(const char *text, const char *end, unsigned *code) {
  *code = 0;
  if (end - text < 4)
    return -1;
  for (int i = 0; i < 4; i++) {
    char byte = text[i];
    unsigned digit;
    if (byte >= '0' && byte <= '9')
      digit = (unsigned)(byte - '0');
    else if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
      digit = (unsigned)((byte | 0x20) - 'a' + 10);
    else
      return -1;
    *code = *code * 16 + digit;
  }
  return 0;
}

static char *put_utf8(char *to, unsigned code) {
  if (code == 0)
    return to;
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  }
  return to;
}

/* Behind `\u`: one code point, of two halves where it is a surrogate pair. Half of one becomes the
 * replacement character. */
static const char *take_code_point(const char *at, const char *end, unsigned *code) {
  unsigned low;
  if (read_hex(at, end, code) < 0) {
    *code = '?'; /* of one byte: there may be no more room */
    return at;
  }
  at += 4;
  if (*code < 0xd800 || *code > 0xdfff)
    return at;
  bool pair = *code < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u' &&
              read_hex(at + 2, end, &low) == 0 && low >= 0xdc00 && low <= 0xdfff;
  *code = pair ? 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
  return pair ? at + 6 : at;
}

static const char *take_escape(const char *at, const char *end, char **to) {
  static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  const char *found = *at ? strchr(plain, *at) : NULL;
  unsigned code;
  if (found) {
    *(*to)++ = meant[found - plain];
    return at + 1;
  }
  if (*at != 'u')
    return at;
  at = take_code_point(at + 1, end, &code);
  *to = put_utf8(*to, code);
  return at;
}

char *mp_qmp_string(mp_qmp_part value) {
  if (value.text == NULL || value.len < 2 || value.text[0] != '"')
    return NULL;
  const char *at = value.text + 1, *end = value.text + value.len - 1;
  char *text = mp_alloc(value.len); /* an escape is never shorter than what it stands for */
  char *to = text;
  while (at < end) {
    char byte = *at++;
    if (byte == '\\' && at < end)
      at = take_escape(at, end, &to);
    else if (byte != '\0')
      *to++ = byte;
  }
  *to = '\0';
  return text;
}

/* -- Messages --------------------------------------------------------------------------------- */

static bool read_name(mp_qmp_part value, mp_qmp_part *name) {
  if (value.len < 3 || value.text[0] != '"')
    return false;
  *name = (mp_qmp_part){value.text + 1, value.len - 2};
  for (size_t i = 0; i < name->len; i++) {
    char byte = name->text[i];
    bool plain = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                 (byte >= '0' && byte <= '9') || byte == '_' || byte == '-' || byte == '.';
    if (!plain)
      return false;
  }
  return true;
}

static double read_time(mp_qmp_part timestamp) {
  uint64_t seconds, micros;
  if (!read_number(mp_qmp_member(timestamp, "seconds"), &seconds))
    return 0;
  if (!read_number(mp_qmp_member(timestamp, "microseconds"), &micros))
    micros = 0;
  return (double)seconds + (double)micros / 1e6;
}

/* What the members of the envelope are. */
typedef struct {
  mp_qmp_part greeting, answer, failure, event, data, id, timestamp;
} envelope;

static void sort_member(envelope *all, mp_qmp_part name, mp_qmp_part value) {
  const struct {
    const char *name;
    mp_qmp_part *to;
  } known[] = {
      {"QMP", &all->greeting},        {"return", &all->answer}, {"error", &all->failure},
      {"event", &all->event},         {"data", &all->data},     {"id", &all->id},
      {"timestamp", &all->timestamp},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (is_named(name, known[i].name))
      *known[i].to = value;
}

static bool read_envelope(const char *line, size_t len, envelope *all) {
  cursor c = {line, line + len};
  mp_qmp_part name, value;
  int more;
  if (!take(&c, '{'))
    return false;
  for (bool first = true; (more = next_member(&c, first, &name, &value)) > 0; first = false)
    sort_member(all, name, value);
  skip_space(&c);
  return more == 0 && c.at == c.end;
}

static bool sort_message(const envelope *all, mp_qmp_message *message) {
  if (all->event.text) {
    message->kind = MP_QMP_EVENT;
    message->body = all->data;
    message->time = read_time(all->timestamp);
    return read_name(all->event, &message->name);
  }
  message->has_id = read_number(all->id, &message->id);
  if (all->failure.text) {
    message->kind = MP_QMP_FAILURE;
    message->body = all->failure;
  } else if (all->answer.text) {
    message->kind = MP_QMP_ANSWER;
    message->body = all->answer;
  } else {
    message->kind = MP_QMP_GREETING;
    message->body = all->greeting;
  }
  return message->body.text != NULL;
}

int mp_qmp_parse(const char *line, size_t len, mp_qmp_message *message, mp_error *err) {
  envelope all = {0};
  mp_qmp_message made = {0};
  if (!read_envelope(line, len, &all) || !sort_message(&all, &made))
    return mp_error_set(err, MP_QMP, MP_PROTOCOL, "`%.*s` is no message of QMP",
                        (int)(len < EXCERPT ? len : EXCERPT), line);
  *message = made;
  return 0;
}

/* The classes that programs tell apart, all others being "GenericError" (qapi/error.json). */
static const char *code_of(const char *class) {
  if (class && strcmp(class, "CommandNotFound") == 0)
    return "unknown-command";
  if (class && strcmp(class, "DeviceNotFound") == 0)
    return "not-found";
  return "refused";
}

int mp_qmp_failure(mp_qmp_part error, const char *command, mp_error *err) {
  mp_auto_free char *class = mp_qmp_string(mp_qmp_member(error, "class"));
  mp_auto_free char *desc = mp_qmp_string(mp_qmp_member(error, "desc"));
  return mp_error_set(err, MP_QMP, code_of(class), "qemu refused `%s`: %s (%s)", command,
                      desc ? desc : "it does not say why", class ? class : "no class");
}
