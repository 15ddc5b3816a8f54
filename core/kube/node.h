/* A kubeconfig's YAML as typed values with their lines: what the reader of kubeconfigs stands on.
 *
 * Plain scalars mean what Kubernetes' YAML library takes them for (YAML 1.1: `yes` is a boolean,
 * `0x10` a number), so that a text which kubectl refuses for its type is refused here too. Anchors,
 * aliases and `<<` work. */
#ifndef MP_CORE_KUBE_NODE_H
#define MP_CORE_KUBE_NODE_H

#include "core/buf.h"
#include "kubeconfig.h"

#include <yaml.h>

typedef struct {
  const char *file;
  yaml_document_t document;
  mp_buf path; /* of the value being read: "users[0].user" */
  mp_kube_fault *fault;
  mp_error *err;
} mp_kube_reader;

/* Takes the first document of the text; *root is NULL where there is none. */
int mp_kube_reader_open(mp_kube_reader *reader, const char *file, const char *text, size_t len,
                        yaml_node_t **root, mp_kube_fault *fault, mp_error *err);
void mp_kube_reader_close(mp_kube_reader *reader);

/* Steps into a member or element, and back to what the path was. */
size_t mp_kube_enter(mp_kube_reader *reader, const char *name);
size_t mp_kube_enter_at(mp_kube_reader *reader, size_t index);
void mp_kube_leave(mp_kube_reader *reader, size_t mark);

/* Fails at `node` (NULL: without a line) with "FILE:LINE: `PATH` <what>"; returns -1. */
int mp_kube_reader_fail(mp_kube_reader *reader, const yaml_node_t *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

unsigned mp_kube_line(const yaml_node_t *node);

/* The present path must be a map or list; null counts as an empty one, and *node becomes NULL. */
int mp_kube_expect_map(mp_kube_reader *reader, yaml_node_t **node);
int mp_kube_expect_list(mp_kube_reader *reader, yaml_node_t **node);

/* A member of a map by its name, NULL where there is none or it is null. Of a key that occurs twice
 * the last counts. */
yaml_node_t *mp_kube_member(mp_kube_reader *reader, yaml_node_t *map, const char *name);

size_t mp_kube_length(const yaml_node_t *list);
yaml_node_t *mp_kube_element(mp_kube_reader *reader, const yaml_node_t *list, size_t index);

/* The members of a map, in order: false at the end. Keys that are no scalars are passed over. */
bool mp_kube_next(mp_kube_reader *reader, const yaml_node_t *map, size_t *at, const char **name,
                  yaml_node_t **value);

/* The value at the present path: `node` may be NULL, which sets nothing. */
int mp_kube_read_text(mp_kube_reader *reader, const yaml_node_t *node, mp_kube_value *to);
int mp_kube_read_flag(mp_kube_reader *reader, const yaml_node_t *node, mp_kube_value *to);
int mp_kube_read_base64(mp_kube_reader *reader, const yaml_node_t *node, mp_kube_value *to);
int mp_kube_read_texts(mp_kube_reader *reader, yaml_node_t *node, mp_kube_list *to);

/* The node as JSON; fails where it holds itself or becomes longer than 64 KiB. */
int mp_kube_read_json(mp_kube_reader *reader, yaml_node_t *node, mp_kube_value *to);

#endif
