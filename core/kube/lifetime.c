#include "lifetime.h"

#include "core/buf.h"
#include "core/encode.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yajl/yajl_parse.h>

/* ---- DER (X.690) ---------------------------------------------------------------------------- */

#define SEQUENCE 0x30
#define INTEGER 0x02
#define VERSION 0xa0 /* [0], constructed */
#define UTC_TIME 0x17
#define GENERALIZED_TIME 0x18

typedef struct {
  const unsigned char *at, *end;
} der;

/* Takes the next element off the front; *inside becomes its content. */
static bool take(der *from, unsigned char *tag, der *inside) {
  if (from->end - from->at < 2)
    return false;
  *tag = from->at[0];
  size_t len = from->at[1], bytes = 0;
  from->at += 2;
  if (len & 0x80) {
    bytes = len & 0x7f;
    if (bytes == 0 || bytes > 4 || (size_t)(from->end - from->at) < bytes)
      return false;
    for (len = 0; bytes > 0; bytes--)
      len = len << 8 | *from->at++;
  }
  if (len > (size_t)(from->end - from->at))
    return false;
  *inside = (der){from->at, from->at + len};
  from->at += len;
  return true;
}

static bool take_of(der *from, unsigned char wanted, der *inside) {
  unsigned char tag;
  return take(from, &tag, inside) && tag == wanted;
}

static int two(const unsigned char *digits) {
  return (digits[0] - '0') * 10 + (digits[1] - '0');
}

/* YYMMDDhhmmssZ (before 2050) or YYYYMMDDhhmmssZ (RFC 5280, 4.1.2.5) */
static bool take_time(der *from, int64_t *seconds) {
  unsigned char tag;
  der text;
  struct tm tm = {0};
  if (!take(from, &tag, &text) || (tag != UTC_TIME && tag != GENERALIZED_TIME))
    return false;
  size_t years = tag == UTC_TIME ? 2 : 4;
  if ((size_t)(text.end - text.at) != years + 11 || text.end[-1] != 'Z')
    return false;
  for (const unsigned char *at = text.at; at < text.end - 1; at++) {
    if (*at < '0' || *at > '9')
      return false;
  }
  int year = two(text.at);
  if (years == 4)
    year = year * 100 + two(text.at + 2);
  else
    year += year >= 50 ? 1900 : 2000;
  const unsigned char *rest = text.at + years;
  tm.tm_year = year - 1900;
  tm.tm_mon = two(rest) - 1;
  tm.tm_mday = two(rest + 2);
  tm.tm_hour = two(rest + 4);
  tm.tm_min = two(rest + 6);
  tm.tm_sec = two(rest + 8);
  *seconds = (int64_t)timegm(&tm);
  return true;
}

/* Certificate { tbsCertificate { [0] version, serial, algorithm, issuer, validity { ... */
static bool lifetime_of(der all, mp_kube_lifetime *lifetime) {
  der certificate, body, skipped, validity;
  if (!take_of(&all, SEQUENCE, &certificate) || !take_of(&certificate, SEQUENCE, &body))
    return false;
  if (body.at < body.end && *body.at == VERSION && !take_of(&body, VERSION, &skipped))
    return false;
  return take_of(&body, INTEGER, &skipped) && take_of(&body, SEQUENCE, &skipped) &&
         take_of(&body, SEQUENCE, &skipped) && take_of(&body, SEQUENCE, &validity) &&
         take_time(&validity, &lifetime->from) && take_time(&validity, &lifetime->until);
}

bool mp_kube_certificate_lifetime(const char *pem, size_t len, mp_kube_lifetime *lifetime) {
  static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
  const char *from = pem ? memmem(pem, len, begin, strlen(begin)) : NULL;
  if (!from)
    return false;
  from += strlen(begin);
  const char *to = memmem(from, len - (size_t)(from - pem), end, strlen(end));
  if (!to)
    return false;
  mp_auto_buf mp_buf bytes = MP_BUF_INIT;
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  if (mp_base64_decode(&bytes, from, (size_t)(to - from), &ignored) < 0 || bytes.len == 0)
    return false;
  const unsigned char *first = (const unsigned char *)bytes.data;
  return lifetime_of((der){first, first + bytes.len}, lifetime);
}

/* ---- JSON Web Tokens ------------------------------------------------------------------------ */

typedef struct {
  unsigned depth;
  int64_t *next; /* where the next number goes */
  mp_kube_lifetime *lifetime;
  bool has_end;
} claims;

static int on_key(void *data, const unsigned char *text, size_t len) {
  claims *self = data;
  self->next = NULL;
  if (self->depth != 1 || len != 3)
    return 1;
  if (memcmp(text, "exp", 3) == 0)
    self->next = &self->lifetime->until;
  else if (memcmp(text, "nbf", 3) == 0)
    self->next = &self->lifetime->from;
  return 1;
}

static int on_number(void *data, const char *text, size_t len) {
  claims *self = data;
  char copy[32];
  if (!self->next || self->depth != 1 || len >= sizeof copy)
    return 1;
  memcpy(copy, text, len);
  copy[len] = '\0';
  *self->next = strtoll(copy, NULL, 10);
  self->has_end |= self->next == &self->lifetime->until;
  self->next = NULL;
  return 1;
}

static int on_begin(void *data) {
  ((claims *)data)->depth++;
  return 1;
}

static int on_end(void *data) {
  ((claims *)data)->depth--;
  return 1;
}

bool mp_kube_token_lifetime(const char *token, size_t len, mp_kube_lifetime *lifetime) {
  static const yajl_callbacks callbacks = {.yajl_map_key = on_key,
                                           .yajl_number = on_number,
                                           .yajl_start_map = on_begin,
                                           .yajl_end_map = on_end,
                                           .yajl_start_array = on_begin,
                                           .yajl_end_array = on_end};
  const char *from = token ? memchr(token, '.', len) : NULL;
  const char *to = from ? memchr(from + 1, '.', len - (size_t)(from + 1 - token)) : NULL;
  if (!to)
    return false;
  mp_auto_buf mp_buf body = MP_BUF_INIT;
  mp_auto_error mp_error ignored = MP_ERROR_INIT;
  if (mp_base64_decode(&body, from + 1, (size_t)(to - from - 1), &ignored) < 0 || body.len == 0)
    return false;
  *lifetime = (mp_kube_lifetime){0};
  claims self = {.lifetime = lifetime};
  yajl_handle parser = yajl_alloc(&callbacks, NULL, &self);
  bool whole = yajl_parse(parser, (unsigned char *)body.data, body.len) == yajl_status_ok &&
               yajl_complete_parse(parser) == yajl_status_ok;
  yajl_free(parser);
  return whole && self.has_end;
}
