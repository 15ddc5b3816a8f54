/* Copies of options, for exchanges that are started later than they were asked for. */
#include "http_internal.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>

static const size_t texts[] = {
    offsetof(mp_http_options, url),
    offsetof(mp_http_options, method),
    offsetof(mp_http_options, body_file),
    offsetof(mp_http_options, unix_socket),
    offsetof(mp_http_options, proxy),
    offsetof(mp_http_options, tls.ca_file),
    offsetof(mp_http_options, tls.cert_file),
    offsetof(mp_http_options, tls.key_file),
    offsetof(mp_http_options, tls.key_password),
    offsetof(mp_http_options, tls.server_name),
};

static const size_t blocks[] = {
    offsetof(mp_http_options, body),
    offsetof(mp_http_options, tls.ca_pem),
    offsetof(mp_http_options, tls.cert_pem),
    offsetof(mp_http_options, tls.key_pem),
};

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define AT(type, base, offset) ((type *)((char *)(base) + (offset)))

static void wipe(const char *bytes, size_t len) {
  if (bytes)
    explicit_bzero((char *)bytes, len);
  free((char *)bytes);
}

static void wipe_text(const char *text) {
  wipe(text, text ? strlen(text) : 0);
}

void mp_http_options_copy(mp_http_options *to, const mp_http_options *from) {
  *to = *from;
  for (size_t i = 0; i < COUNT(texts); i++) {
    const char **text = AT(const char *, to, texts[i]);
    *text = mp_strdup(*text);
  }
  for (size_t i = 0; i < COUNT(blocks); i++) {
    mp_http_bytes *block = AT(mp_http_bytes, to, blocks[i]);
    if (block->data)
      block->data = mp_memdup(block->data, block->len);
  }
  mp_http_header *headers = mp_calloc(from->header_count, sizeof *headers);
  for (size_t i = 0; i < from->header_count; i++) {
    headers[i].name = mp_strdup(from->headers[i].name);
    headers[i].value = mp_strdup(from->headers[i].value);
    headers[i].secret = from->headers[i].secret;
  }
  to->headers = headers;
}

void mp_http_options_free(mp_http_options *options) {
  for (size_t i = 0; i < COUNT(texts); i++)
    wipe_text(*AT(const char *, options, texts[i]));
  for (size_t i = 0; i < COUNT(blocks); i++) {
    mp_http_bytes *block = AT(mp_http_bytes, options, blocks[i]);
    wipe(block->data, block->len);
  }
  for (size_t i = 0; i < options->header_count; i++) {
    wipe_text(options->headers[i].name);
    wipe_text(options->headers[i].value);
  }
  free((void *)options->headers);
  *options = MP_HTTP_OPTIONS_INIT;
}
