#include "keystore.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

static int decode_percent(char *path, size_t size, const char *text, reason *why) {
  size_t used = 0;
  for (const char *at = text; *at != '\0'; at++) {
    char byte = *at;
    if (byte == '%') {
      int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);
      byte = (char)(high * 16 + low);
      if (low < 0 || byte == '\0')
        return because(why, "KEYSTORE_URI: bad percent-encoding in `%s`", text);
      at += 2;
    }
    if (used + 1 >= size)
      return because(why, "KEYSTORE_URI is longer than %zu bytes", size - 1);
    path[used++] = byte;
  }
  path[used] = '\0';
  return 0;
}

int keystore_path(char *path, size_t size, const char *uri, reason *why) {
  if (strncasecmp(uri, "file:", 5) != 0) {
    if (strstr(uri, "://") != NULL)
      return because(why, "KEYSTORE_URI: `%s` is neither a path nor a file:// URI", uri);
    if ((size_t)snprintf(path, size, "%s", uri) >= size)
      return because(why, "KEYSTORE_URI is longer than %zu bytes", size - 1);
    return 0;
  }
  const char *rest = uri + 5;
  if (strncmp(rest, "//localhost/", 12) == 0)
    rest += 11;
  else if (strncmp(rest, "///", 3) == 0)
    rest += 2;
  else if (rest[0] != '/' || rest[1] == '/')
    return because(why, "KEYSTORE_URI: `%s` must hold an absolute path (file:///...)", uri);
  return decode_percent(path, size, rest, why);
}

int keystore_check(const char *path, bool *shared, reason *why) {
  struct stat st;
  if (stat(path, &st) != 0)
    return because_errno(why, "keystore `%s`", path);
  if (!S_ISDIR(st.st_mode))
    return because(why, "keystore `%s` is not a directory", path);
  if (access(path, R_OK | X_OK) != 0)
    return because_errno(why, "keystore `%s` cannot be listed", path);
  *shared = (st.st_mode & 077) != 0;
  return 0;
}
