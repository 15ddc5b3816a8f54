/* The keystore: a directory of key files that belongs to this service alone. */
#ifndef SQUARING_KEYSTORE_H
#define SQUARING_KEYSTORE_H

#include "reason.h"

#include <stdbool.h>
#include <stddef.h>

/* Turns KEYSTORE_URI, a path or a file:// URI (percent-encoding decoded), into a path. */
int keystore_path(char *path, size_t size, const char *uri, reason *why);

/* Checks that it is a directory we may list. *shared says that its mode lets others in: mounted
 * secrets look like that in a pod, so what to make of it is the caller's choice. */
int keystore_check(const char *path, bool *shared, reason *why);

#endif
