#include "http_part.h"

#include "fs.h"
#include "mem.h"
#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (256 * 1024)

void mp_http_part_init(mp_http_part *part, const char *path, const char *sha256,
                       const char *sha512) {
  *part = (mp_http_part){.fd = -1};
  part->sha256 = mp_strdup(sha256);
  part->sha512 = mp_strdup(sha512);
  part->path = mp_strdup(path);
  part->part = mp_sprintf("%s.part", path);
  part->info = mp_sprintf("%s.part.info", path);
}

static int trouble(mp_http_part *part, const char *what, mp_error *err) {
  return mp_error_errno(err, "http", errno, "could not %s `%s`", what, part->part);
}

/* ---- what the part is of -------------------------------------------------------------------- */

static void digest_url(const char *url, char hex[MP_HASH_HEX_MAX]) {
  mp_hash hash;
  mp_hash_init(&hash, MP_HASH_SHA256);
  mp_hash_update(&hash, url, strlen(url));
  mp_hash_final_hex(&hash, hex);
}

/* The info is one line with the URL's digest and one with the validator. Returns whether the part
 * is of this URL. */
static bool read_info(mp_http_part *part, const char *url) {
  mp_auto_buf mp_buf text = MP_BUF_INIT;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  char hex[MP_HASH_HEX_MAX];
  digest_url(url, hex);
  size_t len = strlen(hex);
  if (mp_fs_read(part->info, 4096, &text, &err) < 0 || text.len < len + 1 ||
      memcmp(text.data, hex, len) != 0 || text.data[len] != '\n')
    return false;
  char *validator = text.data + len + 1;
  validator[strcspn(validator, "\r\n")] = '\0';
  if (*validator)
    part->validator = mp_strdup(validator);
  return true;
}

int mp_http_part_note(mp_http_part *part, const char *url, const char *validator, mp_error *err) {
  char hex[MP_HASH_HEX_MAX];
  digest_url(url, hex);
  mp_auto_free char *text = mp_sprintf("%s\n%s\n", hex, validator ? validator : "");
  const mp_fs_write_options options = {.mode = 0600, .no_sync = true};
  if (mp_fs_write(part->info, text, strlen(text), &options, err) == 0)
    return 0;
  return mp_error_wrap(err, "http", err->code, "could not note where `%s` comes from", part->part);
}

/* ---- opening -------------------------------------------------------------------------------- */

static bool is_same_file(int fd, const char *path) {
  struct stat a, b;
  return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Another download may have renamed its part between our open and our lock; then the file in hand
 * is that one's result. */
static int open_locked(mp_http_part *part, mp_error *err) {
  for (;;) {
    int fd = open(part->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
      return trouble(part, "open", err);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
      close(fd);
      if (errno != EWOULDBLOCK)
        return trouble(part, "lock", err);
      mp_error_set(err, "http", "busy", "another download writes `%s`", part->part);
      return mp_error_hint(err, "wait for it to end");
    }
    if (is_same_file(fd, part->part)) {
      part->fd = fd;
      return 0;
    }
    close(fd);
  }
}

static void hash(mp_http_part *part, const void *bytes, size_t len) {
  if (part->sha256)
    mp_hash_update(&part->hash256, bytes, len);
  if (part->sha512)
    mp_hash_update(&part->hash512, bytes, len);
}

int mp_http_part_restart(mp_http_part *part, mp_error *err) {
  part->size = 0;
  free(mp_steal(part->validator));
  mp_hash_init(&part->hash256, MP_HASH_SHA256);
  mp_hash_init(&part->hash512, MP_HASH_SHA512);
  return ftruncate(part->fd, 0) < 0 ? trouble(part, "empty", err) : 0;
}

static int hash_present(mp_http_part *part, mp_error *err) {
  mp_auto_free char *piece = mp_alloc(PIECE);
  for (;;) {
    if (atomic_load(&part->stop))
      return mp_error_set(err, "http", MP_CANCELLED, "the download was cancelled");
    ssize_t got = pread(part->fd, piece, PIECE, (off_t)part->size);
    if (got < 0)
      return trouble(part, "read", err);
    if (got == 0)
      return 0;
    hash(part, piece, (size_t)got);
    part->size += (uint64_t)got;
  }
}

int mp_http_part_open(mp_http_part *part, const char *url, bool resume, mp_error *err) {
  if (open_locked(part, err) < 0)
    return -1;
  mp_hash_init(&part->hash256, MP_HASH_SHA256);
  mp_hash_init(&part->hash512, MP_HASH_SHA512);
  bool verified = part->sha256 || part->sha512;
  if (resume && read_info(part, url) && (part->validator || verified))
    return hash_present(part, err);
  return mp_http_part_restart(part, err);
}

/* ---- writing -------------------------------------------------------------------------------- */

int mp_http_part_append(mp_http_part *part, const void *bytes, size_t len, mp_error *err) {
  const char *at = bytes;
  hash(part, bytes, len);
  while (len > 0) {
    ssize_t written = pwrite(part->fd, at, len, (off_t)part->size);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return trouble(part, "write", err);
    part->size += (uint64_t)written;
    at += written;
    len -= (size_t)written;
  }
  return 0;
}

static int verify(mp_http_part *part, mp_hash *hash, const char *expected, mp_error *err) {
  char hex[MP_HASH_HEX_MAX];
  if (!expected)
    return 0;
  mp_hash_final_hex(hash, hex);
  if (strcasecmp(hex, expected) == 0)
    return 0;
  mp_error_set(err, "http", "checksum", "`%s` has the %s %s instead of %s", part->path,
               mp_hash_name(hash->kind), hex, expected);
  return mp_error_hint(err, "what came is not what was meant; nothing was kept of it");
}

static int sync_directory(mp_http_part *part, mp_error *err) {
  mp_auto_free char *directory = mp_path_dirname(part->path);
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return mp_error_errno(err, "http", errno, "could not open `%s`", directory);
  int rc = fsync(fd) < 0 ? mp_error_errno(err, "http", errno, "could not sync `%s`", directory) : 0;
  close(fd);
  return rc;
}

int mp_http_part_finish(mp_http_part *part, mp_error *err) {
  if (verify(part, &part->hash256, part->sha256, err) < 0 ||
      verify(part, &part->hash512, part->sha512, err) < 0)
    return -1;
  if (fsync(part->fd) < 0)
    return trouble(part, "sync", err);
  if (rename(part->part, part->path) < 0)
    return mp_error_errno(err, "http", errno, "could not rename `%s` to `%s`", part->part,
                          part->path);
  unlink(part->info);
  close(part->fd); /* and unlocks */
  part->fd = -1;
  return sync_directory(part, err);
}

void mp_http_part_close(mp_http_part *part, bool keep) {
  if (part->fd < 0)
    return;
  if (!keep || part->size == 0) {
    unlink(part->part);
    unlink(part->info);
  }
  close(part->fd);
  part->fd = -1;
}

void mp_http_part_free(mp_http_part *part) {
  free(part->path);
  free(part->part);
  free(part->info);
  free(part->validator);
  free(part->sha256);
  free(part->sha512);
}
