#include "sources.h"

#include "client.h"
#include "core/fs.h"

#include <string.h>

#define FILE_MOST (4u << 20) /* bytes: a bundle of CAs may be large */

void mp_kube_sources_init(mp_kube_sources *sources, const mp_kube_config *config) {
  const struct {
    const char *field;
    const mp_kube_value *value;
  } files[MP_KUBE_SOURCES] = {
      [MP_KUBE_CA] = {"cluster.certificate-authority", &config->cluster.ca_file},
      [MP_KUBE_CERT] = {"user.client-certificate", &config->user.cert_file},
      [MP_KUBE_KEY] = {"user.client-key", &config->user.key_file},
      [MP_KUBE_TOKEN] = {"user.tokenFile", &config->user.token_file},
  };
  *sources = (mp_kube_sources){0};
  for (int i = 0; i < MP_KUBE_SOURCES; i++) {
    sources->of[i].field = files[i].field;
    if (config->secure && files[i].value->text)
      sources->of[i].value = files[i].value;
  }
}

static void forget(mp_buf *bytes) {
  if (bytes->data)
    explicit_bzero(bytes->data, bytes->cap);
  mp_buf_free(bytes);
}

void mp_kube_sources_free(mp_kube_sources *sources) {
  for (int i = 0; i < MP_KUBE_SOURCES; i++)
    forget(&sources->of[i].bytes);
}

bool mp_kube_sources_any(const mp_kube_sources *sources) {
  for (int i = 0; i < MP_KUBE_SOURCES; i++) {
    if (sources->of[i].value)
      return true;
  }
  return false;
}

void mp_kube_sources_sketch(mp_kube_sources *to, const mp_kube_sources *from) {
  *to = *from;
  for (int i = 0; i < MP_KUBE_SOURCES; i++)
    to->of[i].bytes = MP_BUF_INIT;
}

static bool same(const mp_kube_signature *a, const mp_kube_signature *b) {
  return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
         a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
         a->ctime.tv_sec == b->ctime.tv_sec && a->ctime.tv_nsec == b->ctime.tv_nsec;
}

/* Before the content, so that a change in between is seen the next time. */
static int signature_of(const char *path, mp_kube_signature *signature, mp_error *err) {
  struct stat info;
  if (mp_fs_stat(path, true, &info, err) < 0)
    return -1;
  *signature =
      (mp_kube_signature){info.st_dev, info.st_ino, info.st_size, info.st_mtim, info.st_ctim};
  return 0;
}

static int look(mp_kube_source *source, mp_error *err) {
  mp_kube_signature now;
  if (signature_of(source->value->text, &now, err) < 0)
    return -1;
  if (source->known && same(&now, &source->signature))
    return 0;
  if (mp_fs_read(source->value->text, FILE_MOST, &source->bytes, err) < 0) {
    forget(&source->bytes);
    return -1;
  }
  mp_buf_append(&source->bytes, "", 0);
  source->signature = now;
  source->known = true;
  return 0;
}

static int fail(const mp_kube_source *source, mp_error *err) {
  const mp_kube_value *value = source->value;
  mp_error_wrap(err, "kube", MP_KUBE_CREDENTIALS, "could not read `%s`", value->text);
  if (value->file)
    return mp_error_hint(err, "`%s` in %s:%u names it", source->field, value->file, value->line);
  return mp_error_hint(err, "it is named by the option for `%s`", source->field);
}

int mp_kube_sources_look(mp_kube_sources *sources, mp_error *err) {
  for (int i = 0; i < MP_KUBE_SOURCES; i++) {
    mp_kube_source *source = &sources->of[i];
    mp_error why = MP_ERROR_INIT;
    if (!source->value || look(source, &why) == 0)
      continue;
    if (!source->known) {
      mp_error_move(err, &why);
      return fail(source, err);
    }
    mp_error_reset(&why);
  }
  return 0;
}

bool mp_kube_sources_take(mp_kube_sources *to, mp_kube_sources *looked) {
  bool changed = false;
  for (int i = 0; i < MP_KUBE_SOURCES; i++) {
    mp_kube_source *mine = &to->of[i], *theirs = &looked->of[i];
    if (!theirs->bytes.data)
      continue;
    changed |= !mine->bytes.data || mine->bytes.len != theirs->bytes.len ||
               memcmp(mine->bytes.data, theirs->bytes.data, mine->bytes.len) != 0;
    forget(&mine->bytes);
    *mine = *theirs;
    theirs->bytes = MP_BUF_INIT;
  }
  return changed;
}
