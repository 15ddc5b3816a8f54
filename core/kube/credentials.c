/* Who waits for credentials, and what is done to get them: files are looked at, plugins run. One
 * thing at a time, for all who wait. */
#include "internal.h"

#include "core/encode.h"
#include "core/mem.h"
#include "core/scrub.h"
#include "plugin.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define LOOK_EVERY_MS 1000
#define RUN_EVERY_MS 1000   /* what a plugin gives may be expired already, by our clock */
#define SAME_AGAIN_MS 10000 /* so long a plugin that brings refused credentials again is let be */
#define SKEW_MOST 60        /* seconds before their end that credentials are renewed, at most */
#define SKEW_PART 10        /* and this part of their life */

/* ---- what the credentials are --------------------------------------------------------------- */

static void set_authorization(mp_kube *kube, const char *scheme, const char *text, size_t len) {
  mp_kube_value *to = &kube->authorization;
  mp_kube_value_free(to);
  mp_auto_free char *plain = mp_memdup(text, len);
  to->text = mp_sprintf("%s %s", scheme, plain);
  to->len = strlen(to->text);
  explicit_bzero(plain, len);
}

static void set_token(mp_kube *kube, const char *text, size_t len) {
  static const char blank[] = " \t\r\n";
  while (len > 0 && memchr(blank, *text, sizeof blank))
    text++, len--;
  while (len > 0 && memchr(blank, text[len - 1], sizeof blank))
    len--;
  mp_scrub_add(text, len);
  set_authorization(kube, "Bearer", text, len);
}

static void set_basic(mp_kube *kube, const mp_kube_value *name, const mp_kube_value *password) {
  mp_buf plain = MP_BUF_INIT, coded = MP_BUF_INIT;
  mp_buf_printf(&plain, "%s:%s", name->text, password->text ? password->text : "");
  mp_base64_encode(&coded, plain.data, plain.len, false);
  if (password->text)
    mp_scrub_add(password->text, password->len);
  set_authorization(kube, "Basic", coded.data, coded.len);
  explicit_bzero(plain.data, plain.cap);
  explicit_bzero(coded.data, coded.cap);
  mp_buf_free(&plain);
  mp_buf_free(&coded);
}

/* Of a token file, its content; where it could not be read, the token beside it. */
static void make_authorization(mp_kube *kube) {
  const mp_kube_config *config = kube->config;
  const mp_buf *file = &kube->sources.of[MP_KUBE_TOKEN].bytes;
  mp_kube_value_free(&kube->authorization);
  if (!config->secure)
    return;
  if (file->data)
    set_token(kube, file->data, file->len);
  else if (config->user.token.text)
    set_token(kube, config->user.token.text, config->user.token.len);
  else if (config->user.username.text)
    set_basic(kube, &config->user.username, &config->user.password);
  else if (kube->has_issued && kube->issued.token.text)
    set_token(kube, kube->issued.token.text, kube->issued.token.len);
}

/* ---- waiters -------------------------------------------------------------------------------- */

static void waiter_end(mp_kube_waiter *waiter, const mp_error *err) {
  mp_kube *kube = waiter->kube;
  TAILQ_REMOVE(&kube->waiters, waiter, link);
  mp_kube_cb cb = waiter->cb;
  void *data = waiter->data;
  free(waiter);
  cb(data, err);
  mp_kube_unref(kube);
}

static void end_cancelled(mp_kube *kube) {
  mp_kube_waiter *waiter, *next;
  mp_auto_error mp_error err = MP_ERROR_INIT;
  mp_error_set(&err, "kube", MP_CANCELLED, "the wait for credentials was cancelled");
  for (waiter = TAILQ_FIRST(&kube->waiters); waiter; waiter = next) {
    next = TAILQ_NEXT(waiter, link);
    if (waiter->cancelled || kube->closed)
      waiter_end(waiter, &err);
  }
}

/* Those who come meanwhile wait for the next round. */
static void end_all(mp_kube *kube, const mp_error *err) {
  mp_kube_waiter *last = TAILQ_LAST(&kube->waiters, mp_kube_waiters), *waiter;
  while ((waiter = TAILQ_FIRST(&kube->waiters))) {
    bool was_last = waiter == last;
    waiter_end(waiter, err);
    if (was_last)
      break;
  }
}

/* ---- files ---------------------------------------------------------------------------------- */

typedef struct {
  mp_kube *kube;
  mp_kube_sources sources;
  mp_error error;
} look_job;

static bool files_are_due(const mp_kube *kube) {
  if (!mp_kube_sources_any(&kube->sources))
    return false;
  return !kube->was_checked || mp_loop_now(kube->loop) - kube->checked_at >= LOOK_EVERY_MS;
}

static void look_run(void *data) {
  look_job *job = data;
  mp_kube_sources_look(&job->sources, &job->error);
}

static void step(mp_kube *kube);

static void looked(void *data, bool cancelled) {
  look_job *job = data;
  mp_kube *kube = job->kube;
  kube->work = NULL;
  if (!cancelled && !kube->closed) {
    if (mp_kube_sources_take(&kube->sources, &job->sources))
      kube->round++;
    make_authorization(kube);
    /* A file that is missing is looked for again by the next request. */
    kube->was_checked = job->error.domain == NULL;
    kube->checked_at = mp_loop_now(kube->loop);
  }
  if (job->error.domain)
    end_all(kube, &job->error);
  step(kube);
  mp_error_reset(&job->error);
  mp_kube_sources_free(&job->sources);
  free(job);
  mp_kube_unref(kube);
}

static void look_at_files(mp_kube *kube) {
  look_job *job = mp_alloc(sizeof *job);
  job->kube = kube;
  kube->refs++;
  mp_kube_sources_sketch(&job->sources, &kube->sources);
  kube->work = mp_work_start(kube->loop, look_run, looked, job);
}

/* ---- plugins -------------------------------------------------------------------------------- */

static int64_t clock_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec;
}

static int64_t skew_of(const mp_kube *kube) {
  int64_t part = (kube->issued.expires_at - kube->issued_at) / SKEW_PART;
  return part > SKEW_MOST ? SKEW_MOST : part > 0 ? part : 0;
}

static bool is_over(const mp_kube *kube, int64_t skew) {
  return kube->issued.expires && clock_seconds() >= kube->issued.expires_at - skew;
}

static bool ran_within(const mp_kube *kube, uint64_t milliseconds) {
  return kube->has_run && mp_loop_now(kube->loop) - kube->ran_at < milliseconds;
}

static bool plugin_is_due(const mp_kube *kube) {
  if (kube->config->auth != MP_KUBE_AUTH_EXEC)
    return false;
  if (!kube->has_issued || kube->refused)
    return true;
  return is_over(kube, skew_of(kube)) && !ran_within(kube, RUN_EVERY_MS);
}

static bool same_value(const mp_kube_value *a, const mp_kube_value *b) {
  if (!a->text || !b->text)
    return a->text == b->text;
  return strcmp(a->text, b->text) == 0;
}

static bool same_credential(const mp_kube_exec_credential *a, const mp_kube_exec_credential *b) {
  return same_value(&a->token, &b->token) && same_value(&a->cert, &b->cert) &&
         same_value(&a->key, &b->key);
}

/* The lines between BEGIN and END, which nobody else may see. */
static void scrub_key(const mp_kube_value *key) {
  const char *from = key->text ? strchr(key->text, '\n') : NULL;
  const char *to = from ? strstr(from, "-----END") : NULL;
  if (to)
    mp_scrub_add(from, (size_t)(to - from));
}

static void take_issued(mp_kube *kube, mp_kube_exec_credential *credential) {
  bool same = kube->has_issued && same_credential(&kube->issued, credential);
  kube->came_same = same && kube->refused;
  kube->refused = false;
  if (!same)
    kube->round++;
  mp_kube_exec_credential_free(&kube->issued);
  kube->issued = *credential;
  *credential = (mp_kube_exec_credential){0};
  kube->issued_at = clock_seconds();
  kube->has_issued = true;
  scrub_key(&kube->issued.key);
  make_authorization(kube);
}

/* One that fails before the end of what it gave earlier harms nobody yet. */
static const mp_error *to_report(mp_kube *kube, const mp_error *err) {
  bool still_good = kube->has_issued && !kube->refused && !is_over(kube, 0);
  return err && still_good ? NULL : err;
}

static void plugin_ended(void *data, mp_kube_exec_credential *credential, const mp_error *err) {
  mp_kube *kube = data;
  kube->plugin = NULL;
  kube->ran_at = mp_loop_now(kube->loop);
  kube->has_run = true;
  if (credential && !kube->closed)
    take_issued(kube, credential);
  const mp_error *told = to_report(kube, err);
  if (told && !mp_error_is(told, MP_CANCELLED)) {
    kube->refused = false; /* the next request that is refused asks again */
    end_all(kube, told);
  }
  step(kube);
  mp_kube_unref(kube);
}

static void run_plugin(mp_kube *kube) {
  const mp_kube_value *data = &kube->config->cluster.ca_data;
  const mp_buf *file = &kube->sources.of[MP_KUBE_CA].bytes;
  bool in_file = file->data != NULL;
  bool is_free = !kube->stdin_is_free || kube->stdin_is_free();
  mp_auto_error mp_error err = MP_ERROR_INIT;
  kube->refs++;
  if (mp_kube_plugin_run(kube->loop, kube->config, is_free, in_file ? file->data : data->text,
                         in_file ? file->len : data->len, plugin_ended, kube, &kube->plugin,
                         &err) == 0)
    return;
  kube->ran_at = mp_loop_now(kube->loop);
  kube->has_run = true;
  end_all(kube, to_report(kube, &err));
  mp_kube_unref(kube);
}

/* ---- one step after the other --------------------------------------------------------------- */

static void step(mp_kube *kube) {
  end_cancelled(kube);
  if (TAILQ_EMPTY(&kube->waiters)) {
    if (kube->plugin)
      mp_op_cancel(kube->plugin); /* nobody wants its answer any more */
    return;
  }
  if (kube->work || kube->plugin)
    return;
  if (files_are_due(kube))
    look_at_files(kube);
  else if (plugin_is_due(kube))
    run_plugin(kube);
  else
    end_all(kube, NULL);
}

static void kicked(void *data, bool cancelled) {
  mp_kube *kube = data;
  (void)cancelled;
  kube->kick = NULL;
  step(kube);
  mp_kube_unref(kube);
}

void mp_kube_kick(mp_kube *kube) {
  if (kube->kick)
    return;
  kube->refs++;
  kube->kick = mp_timer_start(kube->loop, 0, kicked, kube);
}

static void cancel(mp_op *op) {
  mp_kube_waiter *waiter = (mp_kube_waiter *)op;
  waiter->cancelled = true;
  mp_kube_kick(waiter->kube);
}

int mp_kube_prepare(mp_kube *kube, mp_kube_cb cb, void *data, mp_op **op, mp_error *err) {
  if (kube->closed)
    return mp_error_set(err, "kube", "closed", "the client was closed");
  mp_kube_waiter *waiter = mp_alloc(sizeof *waiter);
  *waiter = (mp_kube_waiter){.op = {cancel}, .kube = kube, .cb = cb, .data = data};
  kube->refs++;
  TAILQ_INSERT_TAIL(&kube->waiters, waiter, link);
  mp_kube_kick(kube);
  *op = &waiter->op;
  return 0;
}

bool mp_kube_is_ready(const mp_kube *kube) {
  return !kube->closed && !kube->work && !kube->plugin && !files_are_due(kube) &&
         !plugin_is_due(kube);
}

unsigned mp_kube_round(const mp_kube *kube) {
  return kube->round;
}

bool mp_kube_refused(mp_kube *kube, unsigned round) {
  if (kube->closed)
    return false;
  if (round != kube->round)
    return true;
  kube->was_checked = false;
  if (kube->config->auth != MP_KUBE_AUTH_EXEC)
    return mp_kube_sources_any(&kube->sources);
  if (kube->came_same && ran_within(kube, SAME_AGAIN_MS))
    return false;
  kube->refused = true;
  return true;
}

/* ---- the client ----------------------------------------------------------------------------- */

/* A SOCKS proxy resolves the server's name, as in kubectl; libcurl calls that socks5h. */
static void make_names(mp_kube *kube) {
  const mp_kube_user *user = &kube->config->user;
  const char *proxy = kube->config->cluster.proxy_url.text;
  kube->extra_names = mp_calloc(user->as_extra_count + 1, sizeof *kube->extra_names);
  for (size_t i = 0; i < user->as_extra_count; i++)
    kube->extra_names[i] = mp_kube_extra_header(user->as_extra[i].name);
  if (proxy && strncasecmp(proxy, "socks5://", 9) == 0)
    kube->proxy = mp_sprintf("socks5h://%s", proxy + 9);
  else
    kube->proxy = mp_strdup(proxy);
}

mp_kube *mp_kube_open(mp_loop *loop, mp_kube_config *config) {
  mp_kube *kube = mp_alloc(sizeof *kube);
  kube->loop = loop;
  kube->config = mp_kube_config_ref(config);
  kube->refs = 1;
  TAILQ_INIT(&kube->waiters);
  TAILQ_INIT(&kube->queue);
  mp_kube_sources_init(&kube->sources, config);
  make_authorization(kube);
  make_names(kube);
  mp_http_prepare(loop);
  return kube;
}

void mp_kube_set_stdin(mp_kube *kube, bool (*stdin_is_free)(void)) {
  kube->stdin_is_free = stdin_is_free;
}

void mp_kube_unref(mp_kube *kube) {
  if (--kube->refs > 0)
    return;
  mp_kube_sources_free(&kube->sources);
  mp_kube_value_free(&kube->authorization);
  mp_kube_exec_credential_free(&kube->issued);
  for (size_t i = 0; i < kube->config->user.as_extra_count; i++)
    free(kube->extra_names[i]);
  free(kube->extra_names);
  free(kube->proxy);
  mp_kube_config_unref(kube->config);
  mp_buf_free(&kube->url);
  free(kube->headers);
  free(kube);
}

void mp_kube_close(mp_kube *kube) {
  if (!kube)
    return;
  kube->closed = true;
  if (kube->plugin)
    mp_op_cancel(kube->plugin);
  if (!TAILQ_EMPTY(&kube->waiters))
    mp_kube_kick(kube);
  mp_kube_unref(kube);
}

const mp_kube_config *mp_kube_config_of(const mp_kube *kube) {
  return kube->config;
}
