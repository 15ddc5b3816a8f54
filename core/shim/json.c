#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void mp_shim_json_init(mp_shim_json *json, char *data, size_t cap) {
  *json = (mp_shim_json){.data = data, .cap = cap};
  data[0] = '\0';
}

static void put(mp_shim_json *json, const char *bytes, size_t len) {
  if (len >= json->cap - json->len) {
    json->overflow = true;
    return;
  }
  memcpy(json->data + json->len, bytes, len);
  json->len += len;
  json->data[json->len] = '\0';
}

static void puts_plain(mp_shim_json *json, const char *text) {
  put(json, text, strlen(text));
}

static void begin_member(mp_shim_json *json, const char *key) {
  if (json->comma)
    put(json, ",", 1);
  json->comma = true;
  if (key) {
    put(json, "\"", 1);
    puts_plain(json, key);
    put(json, "\":", 2);
  }
}

/* The length of the well-formed UTF-8 sequence at `s` (RFC 3629: no overlong forms, no surrogates,
 * nothing above U+10FFFF), or 0. The text is NUL-terminated, so reading stops in time. */
static size_t utf8_sequence(const unsigned char *s) {
  if (s[0] < 0x80)
    return 1;
  size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
  if (s[0] < 0xc2 || s[0] > 0xf4)
    return 0;
  for (size_t i = 1; i < len; i++)
    if ((s[i] & 0xc0) != 0x80)
      return 0;
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
      (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
    return 0;
  return len;
}

static void put_escaped(mp_shim_json *json, const char *text) {
  const unsigned char *s = (const unsigned char *)text;
  while (*s) {
    char escape[8];
    size_t len = utf8_sequence(s);
    if (len == 0) {
      puts_plain(json, "\xef\xbf\xbd");
      s++;
    } else if (*s == '"' || *s == '\\') {
      snprintf(escape, sizeof escape, "\\%c", *s++);
      puts_plain(json, escape);
    } else if (*s < 0x20) {
      snprintf(escape, sizeof escape, "\\u%04x", *s++);
      puts_plain(json, escape);
    } else {
      put(json, (const char *)s, len);
      s += len;
    }
  }
}

void mp_shim_json_open(mp_shim_json *json, const char *key) {
  begin_member(json, key);
  put(json, "{", 1);
  json->comma = false;
}

void mp_shim_json_close(mp_shim_json *json) {
  put(json, "}", 1);
  json->comma = true;
}

void mp_shim_json_string(mp_shim_json *json, const char *key, const char *text) {
  if (text == NULL) {
    mp_shim_json_null(json, key);
    return;
  }
  begin_member(json, key);
  put(json, "\"", 1);
  put_escaped(json, text);
  put(json, "\"", 1);
}

void mp_shim_json_int(mp_shim_json *json, const char *key, int64_t number) {
  char text[24];
  begin_member(json, key);
  snprintf(text, sizeof text, "%" PRId64, number);
  puts_plain(json, text);
}

void mp_shim_json_bool(mp_shim_json *json, const char *key, bool value) {
  begin_member(json, key);
  puts_plain(json, value ? "true" : "false");
}

void mp_shim_json_null(mp_shim_json *json, const char *key) {
  begin_member(json, key);
  puts_plain(json, "null");
}
