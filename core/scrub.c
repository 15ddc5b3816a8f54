#include "scrub.h"

#include "encode.h"
#include "mem.h"

#include <stdlib.h>
#include <string.h>

#define LINE_LEAST 8    /* shorter lines of a secret are too common to be hidden alone */
#define ENCODED_LEAST 6 /* the same for the inner part of a base64 form */
static const char mask[] = "***";

typedef struct {
  char *bytes;
  size_t len;
  bool token; /* matches only as a whole token */
} pattern;

/* Patterns by their first byte, longest first within one. */
static struct {
  pattern *items;
  size_t count;
} buckets[256];
static size_t total;

static bool is_word(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void add_pattern(const char *bytes, size_t len, bool token) {
  if (len == 0)
    return;
  unsigned char first = (unsigned char)bytes[0];
  pattern *items = buckets[first].items;
  size_t count = buckets[first].count, at = 0;
  for (; at < count && items[at].len >= len; at++)
    if (items[at].len == len && memcmp(items[at].bytes, bytes, len) == 0)
      return;
  items = mp_realloc(items, (count + 1) * sizeof *items);
  memmove(items + at + 1, items + at, (count - at) * sizeof *items);
  items[at] = (pattern){.bytes = mp_memdup(bytes, len), .len = len, .token = token};
  buckets[first].items = items;
  buckets[first].count = count + 1;
  total++;
}

static void add_buf(mp_buf *form) {
  if (form->len > 0)
    add_pattern(form->data, form->len, false);
  mp_buf_wipe(form);
}

/* Within the base64 of a longer text the secret starts at one of three places in a group, and only
 * the characters that depend on nothing but the secret can be known. */
static void add_base64(const char *bytes, size_t len, bool url) {
  mp_buf whole = MP_BUF_INIT;
  mp_base64_encode(&whole, bytes, len, url);
  add_buf(&whole);
  for (size_t lead = 0; lead < 3; lead++) {
    mp_buf padded = MP_BUF_INIT, form = MP_BUF_INIT;
    mp_buf_append(&padded, "\0\0", lead);
    mp_buf_append(&padded, bytes, len);
    mp_base64_encode(&form, padded.data, padded.len, url);
    size_t known_from = (lead * 8 + 5) / 6;
    size_t known_to = padded.len * 8 / 6;
    if (known_to >= known_from + ENCODED_LEAST)
      add_pattern(form.data + known_from, known_to - known_from, false);
    mp_buf_wipe(&padded);
    mp_buf_wipe(&form);
  }
}

static void add_percent(const char *bytes, size_t len) {
  mp_buf upper = MP_BUF_INIT, lower = MP_BUF_INIT, form = MP_BUF_INIT;
  mp_url_encode(&upper, bytes, len);
  for (size_t i = 0; i < upper.len; i++) {
    char c = upper.data[i];
    bool digit = (i >= 1 && upper.data[i - 1] == '%') || (i >= 2 && upper.data[i - 2] == '%');
    char small = (char)(digit && c >= 'A' && c <= 'F' ? c + 32 : c);
    mp_buf_append(&lower, &small, 1);
    if (i + 3 <= upper.len && memcmp(upper.data + i, "%20", 3) == 0) {
      mp_buf_puts(&form, "+"); /* application/x-www-form-urlencoded */
      mp_buf_append(&lower, "20", 2);
      i += 2;
    } else {
      mp_buf_append(&form, &c, 1);
    }
  }
  add_buf(&upper);
  add_buf(&lower);
  add_buf(&form);
}

static void add_forms(const char *bytes, size_t len) {
  mp_buf json = MP_BUF_INIT, hex = MP_BUF_INIT;
  add_pattern(bytes, len, len < MP_SCRUB_SHORT);
  if (len < MP_SCRUB_SHORT)
    return;
  mp_json_escape(&json, bytes, len);
  add_buf(&json);
  add_percent(bytes, len);
  add_base64(bytes, len, false);
  add_base64(bytes, len, true);
  mp_hex_encode(&hex, bytes, len);
  add_buf(&hex);
}

static bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void trim(const char **bytes, size_t *len) {
  while (*len > 0 && is_space((*bytes)[*len - 1]))
    *len -= 1;
  while (*len > 0 && is_space(**bytes)) {
    *bytes += 1;
    *len -= 1;
  }
}

static void add_lines(const char *bytes, size_t len) {
  const char *end = bytes + len;
  if (memchr(bytes, '\n', len) == NULL)
    return;
  while (bytes < end) {
    const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
    const char *stop = newline ? newline : end;
    const char *line = bytes;
    size_t line_len = (size_t)(stop - bytes);
    trim(&line, &line_len);
    if (line_len >= LINE_LEAST)
      add_pattern(line, line_len, false);
    bytes = stop + 1;
  }
}

static bool known(const char *bytes, size_t len) {
  unsigned char first = (unsigned char)bytes[0];
  for (size_t i = 0; i < buckets[first].count; i++) {
    const pattern *item = &buckets[first].items[i];
    if (item->len == len && memcmp(item->bytes, bytes, len) == 0)
      return true;
  }
  return false;
}

void mp_scrub_add(const char *bytes, size_t len) {
  const char *whole = bytes;
  size_t whole_len = len;
  trim(&bytes, &len);
  if (len == 0 || known(whole, whole_len))
    return;
  add_forms(bytes, len);
  add_lines(bytes, len);
  if (whole_len != len && len >= MP_SCRUB_SHORT)
    add_forms(whole, whole_len); /* base64 of the file as it is, newline included */
}

bool mp_scrub_needed(void) {
  return total > 0;
}

/* The length of the longest secret that stands at `text + at`, or 0. */
static size_t match_at(const char *text, size_t len, size_t at) {
  unsigned char first = (unsigned char)text[at];
  for (size_t i = 0; i < buckets[first].count; i++) {
    const pattern *item = &buckets[first].items[i];
    if (item->len > len - at || memcmp(item->bytes, text + at, item->len) != 0)
      continue;
    size_t after = at + item->len;
    bool inside = (at > 0 && is_word((unsigned char)text[at - 1])) ||
                  (after < len && is_word((unsigned char)text[after]));
    if (!item->token || !inside)
      return item->len;
  }
  return 0;
}

static void scrub_into(mp_buf *out, const char *text, size_t len) {
  size_t plain = 0;  /* what lies before is written */
  size_t hidden = 0; /* end of the occurrence under way; 0: none */
  for (size_t at = 0; at < len; at++) {
    if (hidden > 0 && at >= hidden) {
      plain = hidden;
      hidden = 0;
    }
    size_t found = match_at(text, len, at);
    if (found == 0)
      continue;
    if (hidden == 0) {
      mp_buf_append(out, text + plain, at - plain);
      mp_buf_puts(out, mask);
    }
    if (at + found > hidden)
      hidden = at + found;
  }
  size_t rest = hidden > 0 ? hidden : plain;
  mp_buf_append(out, text + rest, len - rest);
}

char *mp_scrub_copy(const char *text, size_t len, size_t *out_len) {
  mp_buf out = MP_BUF_INIT;
  if (total > 0)
    scrub_into(&out, text, len);
  else
    mp_buf_append(&out, text, len);
  if (out_len)
    *out_len = out.len;
  return out.data;
}

char *mp_scrub_text(const char *text) {
  return text ? mp_scrub_copy(text, strlen(text), NULL) : NULL;
}

void mp_scrub(mp_buf *buf) {
  if (total == 0 || buf->len == 0)
    return;
  mp_buf out = MP_BUF_INIT;
  scrub_into(&out, buf->data, buf->len);
  mp_buf_wipe(buf);
  *buf = out;
}

void mp_scrub_reset(void) {
  for (size_t first = 0; first < 256; first++) {
    for (size_t i = 0; i < buckets[first].count; i++) {
      explicit_bzero(buckets[first].items[i].bytes, buckets[first].items[i].len);
      free(buckets[first].items[i].bytes);
    }
    free(buckets[first].items);
    buckets[first].items = NULL;
    buckets[first].count = 0;
  }
  total = 0;
}
