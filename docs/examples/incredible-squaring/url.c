#include "url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int parse_port(const char *text, size_t len, char *port, size_t port_size, reason *why) {
  unsigned value = 0;
  if (len == 0 || len > 5)
    return because(why, "`%.*s` is not a port", (int)len, text);
  for (size_t i = 0; i < len; i++) {
    if (text[i] < '0' || text[i] > '9')
      return because(why, "`%.*s` is not a port", (int)len, text);
    value = value * 10 + (unsigned)(text[i] - '0');
  }
  if (value > 65535)
    return because(why, "port %u is out of range", value);
  snprintf(port, port_size, "%u", value);
  return 0;
}

int url_split_address(const char *text, size_t len, const char *default_port, char *host,
                      size_t host_size, char *port, size_t port_size, reason *why) {
  const char *end = text + len, *host_start = text, *host_end;
  if (len > 0 && text[0] == '[') {
    host_start = text + 1;
    host_end = memchr(text, ']', len);
    if (host_end == NULL)
      return because(why, "`%.*s` lacks a closing bracket", (int)len, text);
    text = host_end + 1;
  } else {
    const char *colon = memchr(text, ':', len);
    host_end = text = colon ? colon : end;
  }

  size_t host_len = (size_t)(host_end - host_start);
  if (host_len >= host_size)
    return because(why, "the host name is longer than %zu bytes", host_size - 1);
  if (text == end) {
    if (default_port == NULL)
      return because(why, "`%.*s` lacks a port", (int)len, host_start);
    snprintf(port, port_size, "%s", default_port);
  } else if (*text != ':') {
    return because(why, "`%.*s` is not an address", (int)len, host_start);
  } else if (parse_port(text + 1, (size_t)(end - text - 1), port, port_size, why) != 0) {
    return -1;
  }
  memcpy(host, host_start, host_len);
  host[host_len] = '\0';
  return 0;
}

/* A byte that would end a header line or the request line early never gets into a request. */
static int refuse_unprintable(const char *text, reason *why) {
  for (const char *at = text; *at != '\0'; at++)
    if (*at <= ' ' || *at > '~')
      return because(why, "holds a byte that no URL may hold (0x%02x)", (unsigned char)*at);
  return 0;
}

int url_parse(url *out, const char *text, reason *why) {
  url parsed = {0};
  if (refuse_unprintable(text, why) != 0)
    return -1;
  if (strncasecmp(text, "https://", 8) == 0)
    return because(why, "`%s` needs TLS, which this example leaves out; use http://", text);
  if (strncasecmp(text, "http://", 7) != 0)
    return because(why, "`%s` is not an http:// URL", text);

  const char *authority = text + 7;
  size_t authority_len = strcspn(authority, "/?#");
  if (memchr(authority, '@', authority_len) != NULL)
    return because(why, "user:password@ in a URL is not supported");
  if (url_split_address(authority, authority_len, "80", parsed.host, sizeof parsed.host,
                        parsed.port, sizeof parsed.port, why) != 0)
    return -1;
  if (parsed.host[0] == '\0')
    return because(why, "`%s` names no host", text);
  snprintf(parsed.authority, sizeof parsed.authority, "%.*s", (int)authority_len, authority);

  const char *target = authority + authority_len;
  size_t target_len = strcspn(target, "#");
  const char *slash = *target == '/' ? "" : "/";
  if (target_len + 1 >= sizeof parsed.target)
    return because(why, "the path is longer than %zu bytes", sizeof parsed.target - 2);
  snprintf(parsed.target, sizeof parsed.target, "%s%.*s", slash, (int)target_len, target);
  *out = parsed;
  return 0;
}
