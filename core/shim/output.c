#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* Long enough for what tells a gap. */
enum { NOTE_MAX = 160 };

static void on_writable(mp_shim_source *source, uint32_t events) {
  (void)events;
  mp_shim_output_flush(source->owner);
}

void mp_shim_output_open(mp_shim_output *output, int fd) {
  struct termios mode;
  if (output->source.fd >= 0) {
    close(fd);
    return;
  }
  if (tcgetattr(fd, &mode) == 0) {
    cfmakeraw(&mode);
    tcsetattr(fd, TCSANOW, &mode);
  }
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  output->source = (mp_shim_source){.fd = fd, .on_ready = on_writable, .owner = output};
  /* A port without a reader would be ready (hung up) all the time: hear of changes only. */
  if (mp_shim_loop_add(output->loop, &output->source, EPOLLOUT | EPOLLET) < 0)
    mp_shim_output_close(output);
}

void mp_shim_output_close(mp_shim_output *output) {
  if (output->source.fd >= 0)
    close(output->source.fd);
  output->source.fd = -1;
  free(output->kept);
  output->kept = NULL;
}

static size_t room(const mp_shim_output *output) {
  return MP_SHIM_OUTPUT_KEPT - output->len;
}

static void keep(mp_shim_output *output, const char *bytes, size_t len) {
  size_t end = (output->start + output->len) % MP_SHIM_OUTPUT_KEPT;
  size_t first = MP_SHIM_OUTPUT_KEPT - end < len ? MP_SHIM_OUTPUT_KEPT - end : len;
  if (len == 0)
    return;
  memcpy(output->kept + end, bytes, first);
  memcpy(output->kept, bytes + first, len - first);
  output->len += len;
}

static void tell_gap(mp_shim_output *output) {
  char note[NOTE_MAX];
  int len = snprintf(note, sizeof note,
                     "%smoonport-shim: %llu bytes of output (%llu lines) are missing here, nobody "
                     "took them\n",
                     output->torn ? "\n" : "", (unsigned long long)output->gap_bytes,
                     (unsigned long long)output->gap_lines);
  keep(output, note, (size_t)len);
  output->gap_bytes = output->gap_lines = 0;
  output->torn = false;
}

static void drop(mp_shim_output *output, size_t len, bool part) {
  output->gap_bytes += len;
  output->dropped_bytes += len;
  output->gap_lines += !part;
  output->dropped_lines += !part;
}

void mp_shim_output_add(mp_shim_output *output, const char *bytes, size_t len, bool part) {
  bool gap = output->gap_bytes > 0;
  size_t whole = len + !part;
  if (output->source.fd < 0)
    return;
  if (output->kept == NULL)
    output->kept = malloc(MP_SHIM_OUTPUT_KEPT);
  if (output->kept == NULL || whole + (gap ? NOTE_MAX : 0) > room(output)) {
    drop(output, whole, part);
    return;
  }
  if (gap)
    tell_gap(output);
  keep(output, bytes, len);
  if (!part)
    keep(output, "\n", 1);
  output->torn = part;
}

void mp_shim_output_flush(mp_shim_output *output) {
  while (output->source.fd >= 0 && output->len > 0) {
    size_t piece = MP_SHIM_OUTPUT_KEPT - output->start;
    ssize_t wrote = write(output->source.fd, output->kept + output->start,
                          piece < output->len ? piece : output->len);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote <= 0)
      return; /* the loop tells when to go on; a port that failed may work again */
    output->start = (output->start + (size_t)wrote) % MP_SHIM_OUTPUT_KEPT;
    output->len -= (size_t)wrote;
  }
  if (output->len == 0) {
    free(output->kept);
    output->kept = NULL;
    output->start = 0;
  }
}
