/* squares.log: one line `block square` per block, in rising order, each block at most once.
 *
 * Appends are durable before they count. A crash in the middle of a write leaves at most one
 * unfinished line, which the next start cuts off; so a restart goes on exactly where the file ends.
 * The file is locked: a second instance on the same directory is refused. */
#ifndef SQUARING_LEDGER_H
#define SQUARING_LEDGER_H

#include "reason.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LEDGER_BATCH 256

typedef struct {
  int fd;
  off_t size;    /* up to here the file is known good */
  off_t cut;     /* bytes of an unfinished line that opening removed */
  bool any;      /* it holds at least one line */
  uint64_t last; /* the block of its last line, if any */
} ledger;

/* Opens data_dir/squares.log, making both where missing (0700, 0600). */
int ledger_open(ledger *l, const char *data_dir, reason *why);

/* Appends the squares of first..last, at most LEDGER_BATCH of them, and waits for the disk. On
 * failure (a full disk) the file is as it was before. */
int ledger_append(ledger *l, uint64_t first, uint64_t last, reason *why);

void ledger_close(ledger *l);

#endif
