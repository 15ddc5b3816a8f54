#include "plugin.h"

#include "client.h"
#include "core/mem.h"
#include "core/process.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INFO "KUBERNETES_EXEC_INFO"
#define OUTPUT_MOST (1u << 20)
#define QUIET_MS 60000   /* for a plugin that asks nobody */
#define ASKING_MS 600000 /* for one that may wait for a person */
#define STDERR_SHOWN 2000

extern char **environ;

typedef struct {
  mp_op op; /* first */
  mp_op *run;
  mp_kube_config *config;
  mp_kube_plugin_cb cb;
  void *data;
} plugin;

/* ---- errors --------------------------------------------------------------------------------- */

/* Installation hints come from files and go to terminals. */
static char *plain(const char *text) {
  char *copy = mp_strdup(text), *to = copy;
  for (const char *at = copy; *at; at++) {
    if (*at == '\n' || *at == '\t' || (unsigned char)*at >= ' ')
      *to++ = *at;
  }
  *to = '\0';
  return copy;
}

static int hint_place(const mp_kube_config *config, mp_error *err) {
  const mp_kube_value *command = &config->user.exec->command;
  return mp_error_hint(err, "`user.exec.command` in %s:%u names it", command->file, command->line);
}

static int hint_install(const mp_kube_config *config, mp_error *err) {
  const mp_kube_value *hint = &config->user.exec->install_hint;
  if (!hint->text)
    return hint_place(config, err);
  mp_auto_free char *text = plain(hint->text);
  return mp_error_hint(err, "%s", text);
}

/* The end of what it wrote, without the white space around. */
static char *last_words(const mp_buf *from) {
  const char *text = from->data ? from->data : "";
  size_t len = from->len;
  while (len > 0 && strchr(" \t\r\n", text[len - 1]))
    len--;
  size_t start = len > STDERR_SHOWN ? len - STDERR_SHOWN : 0;
  mp_auto_free char *tail = mp_memdup(text + start, len - start);
  return plain(tail);
}

static int fail(const mp_kube_config *config, mp_error *err, const char *what, const mp_buf *said) {
  mp_auto_free char *words = last_words(said);
  mp_error_set(err, "kube", MP_KUBE_CREDENTIALS, "the credential plugin `%s` %s%s%s",
               config->user.exec->command.text, what, *words ? ": " : "", words);
  return hint_place(config, err);
}

static int fail_exit(const mp_kube_config *config, mp_error *err, const mp_process_result *result) {
  mp_auto_free char *what = result->exit.signal
                                ? mp_sprintf("was ended by signal %d", result->exit.signal)
                                : mp_sprintf("failed with exit code %d", result->exit.code);
  return fail(config, err, what, &result->err);
}

/* Its own error is the cause of ours. */
static int fail_run(const mp_kube_config *config, mp_error *err, const mp_error *why,
                    const mp_buf *said) {
  mp_error_copy(err, why);
  if (mp_error_is(why, MP_CANCELLED))
    return -1;
  mp_auto_free char *words = last_words(said);
  const char *what = mp_error_is(why, MP_TIMEOUT) ? "did not answer in time" : "failed";
  mp_error_wrap(err, "kube", MP_KUBE_CREDENTIALS, "the credential plugin `%s` %s%s%s",
                config->user.exec->command.text, what, *words ? ": " : "", words);
  return hint_place(config, err);
}

static int fail_start(const mp_kube_config *config, mp_error *err) {
  bool missing = mp_error_is(err, "ENOENT");
  mp_error_wrap(err, "kube", MP_KUBE_CREDENTIALS, "the credential plugin `%s` %s",
                config->user.exec->command.text,
                missing ? "was not found" : "could not be started");
  return missing ? hint_install(config, err) : hint_place(config, err);
}

/* ---- its environment ------------------------------------------------------------------------ */

static bool is_named(const char *variable, const char *like) {
  size_t len = strcspn(like, "=");
  return strncmp(variable, like, len) == 0 && variable[len] == '=';
}

static bool is_replaced(const char *variable, const mp_kube_list *by) {
  for (size_t i = 0; i < by->count; i++) {
    if (is_named(variable, by->items[i].text))
      return true;
  }
  return is_named(variable, INFO "=");
}

/* Of an entry's variables of one name the last counts. */
static bool comes_again(const mp_kube_list *list, size_t at) {
  for (size_t i = at + 1; i < list->count; i++) {
    if (is_named(list->items[i].text, list->items[at].text))
      return true;
  }
  return is_named(list->items[at].text, INFO "=");
}

static const char **make_environment(const mp_kube_list *own, const char *info) {
  size_t count = 0, used = 0;
  while (environ && environ[count])
    count++;
  const char **env = mp_calloc(count + own->count + 2, sizeof *env);
  for (size_t i = 0; i < count; i++) {
    if (!is_replaced(environ[i], own))
      env[used++] = environ[i];
  }
  for (size_t i = 0; i < own->count; i++) {
    if (!comes_again(own, i))
      env[used++] = own->items[i].text;
  }
  env[used] = info;
  return env;
}

/* ---- the run -------------------------------------------------------------------------------- */

static void ended(void *data, mp_process_result *result, const mp_error *why) {
  plugin *self = data;
  const mp_kube_config *config = self->config;
  mp_kube_exec_credential credential = {0};
  mp_auto_error mp_error err = MP_ERROR_INIT;
  if (why)
    fail_run(config, &err, why, &result->err);
  else if (result->exit.code != 0)
    fail_exit(config, &err, result);
  else if (mp_kube_exec_parse(config->user.exec->api_version.text, result->out.data,
                              result->out.len, &credential, &err) < 0) {
    mp_error_wrap(&err, "kube", MP_KUBE_CREDENTIALS, "the credential plugin `%s` is not to be used",
                  config->user.exec->command.text);
    hint_place(config, &err);
  }
  if (result->out.data)
    explicit_bzero(result->out.data, result->out.cap);
  self->cb(self->data, err.domain ? NULL : &credential, err.domain ? &err : NULL);
  mp_kube_exec_credential_free(&credential);
  mp_kube_config_unref(self->config);
  free(self);
}

static void cancel(mp_op *op) {
  mp_op_cancel(((plugin *)op)->run);
}

/* Whether it gets the terminal. */
static int choose_interactive(const mp_kube_config *config, bool stdin_is_free, bool *interactive,
                              mp_error *err) {
  const char *mode = config->user.exec->interactive_mode.text;
  bool possible = stdin_is_free && isatty(STDIN_FILENO);
  *interactive = possible && !(mode && strcmp(mode, "Never") == 0);
  if (possible || !mode || strcmp(mode, "Always") != 0)
    return 0;
  mp_error_set(err, "kube", MP_KUBE_CREDENTIALS,
               "the credential plugin `%s` must ask a person, and standard input is %s",
               config->user.exec->command.text,
               stdin_is_free ? "not a terminal" : "in use by the prompt");
  return mp_error_hint(err, "`user.exec.interactiveMode` is `Always` in %s:%u",
                       config->user.exec->interactive_mode.file,
                       config->user.exec->interactive_mode.line);
}

static const char **make_argv(const mp_kube_exec *exec) {
  const char **argv = mp_calloc(exec->args.count + 2, sizeof *argv);
  argv[0] = exec->command.text;
  for (size_t i = 0; i < exec->args.count; i++)
    argv[i + 1] = exec->args.items[i].text;
  return argv;
}

static int start(plugin *self, mp_loop *loop, bool interactive, const char *info, mp_error *err) {
  const mp_kube_exec *exec = self->config->user.exec;
  mp_auto_free const char **argv = make_argv(exec);
  mp_auto_free const char **env = make_environment(&exec->env, info);
  const mp_process_run_options options = {
      .spawn = {.argv = argv,
                .env = env,
                .in = {.kind = interactive ? MP_STDIO_INHERIT : MP_STDIO_NULL},
                .out = {.kind = MP_STDIO_PIPE},
                .err = {.kind = interactive ? MP_STDIO_INHERIT : MP_STDIO_PIPE},
                .scope = interactive ? MP_SPAWN_SHARED : MP_SPAWN_SESSION},
      .limit = OUTPUT_MOST,
      .timeout = interactive ? ASKING_MS : QUIET_MS,
  };
  return mp_process_run(loop, &options, ended, self, &self->run, err);
}

int mp_kube_plugin_run(mp_loop *loop, const mp_kube_config *config, bool stdin_is_free,
                       const char *ca, size_t ca_len, mp_kube_plugin_cb cb, void *data, mp_op **op,
                       mp_error *err) {
  bool interactive;
  if (choose_interactive(config, stdin_is_free, &interactive, err) < 0)
    return -1;
  mp_auto_free char *json = mp_kube_exec_info(config, interactive, ca, ca_len);
  mp_auto_free char *info = mp_sprintf(INFO "=%s", json);
  plugin *self = mp_alloc(sizeof *self);
  *self = (plugin){.op = {cancel}, .cb = cb, .data = data};
  self->config = mp_kube_config_ref((mp_kube_config *)config);
  if (start(self, loop, interactive, info, err) < 0) {
    fail_start(config, err);
    mp_kube_config_unref(self->config);
    free(self);
    return -1;
  }
  *op = &self->op;
  return 0;
}
