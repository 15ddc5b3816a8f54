/* The two address forms the program meets: `http://host:port/path` and `host:port`. */
#ifndef SQUARING_URL_H
#define SQUARING_URL_H

#include "reason.h"

#include <stddef.h>

typedef struct {
  char host[256]; /* without the brackets of an IPv6 address */
  char port[6];
  char target[512];    /* path and query, begins with '/' */
  char authority[272]; /* as the Host header wants it */
} url;

/* Parses a plain-HTTP URL. TLS and user:password@ are refused by name. */
int url_parse(url *out, const char *text, reason *why);

/* Splits `host:port` or `[v6]:port`. default_port NULL: the port must be there. */
int url_split_address(const char *text, size_t len, const char *default_port, char *host,
                      size_t host_size, char *port, size_t port_size, reason *why);

#endif
