--- The schema of a manifest's `container` table.
-- @module moonport.container.manifest

local checks = require "moonport.container.checks"
local schema = require "moonport.schema"
local syntax = require "moonport.container.syntax"

local function name(doc)
  return schema.string { check = syntax.object_name, doc = doc }
end

local function labels(doc, key)
  return schema.map(schema.string { check = syntax.label_value }, {
    key = key or syntax.label_key, default = {}, doc = doc,
  })
end

local gpu = schema.record({
  policy = schema.enum {
    "required", "preferred", default = "required",
    doc = "`required`: it runs only where it gets them; `preferred`: on a node with some if it can",
  },
  count = schema.integer { min = 1, max = 64, default = 1, doc = "how many; for `required` alone" },
  resource = schema.string {
    pattern = "^[%w.-]+/[%w._-]+$", default = "nvidia.com/gpu",
    doc = "what the cluster's device plugin calls them",
  },
  node_labels = schema.map(schema.string { check = syntax.label_value }, {
    key = syntax.label_key, default = { ["nvidia.com/gpu.present"] = "true" },
    doc = "labels of nodes that have one (default: `nvidia.com/gpu.present = \"true\"`)",
  }),
  weight = schema.integer {
    min = 1, max = 100, default = 100, doc = "how much `preferred` weighs with the scheduler",
  },
}, { doc = "graphics processors" })

local requests = schema.record({
  memory = schema.size { min = 1, doc = "memory to reserve; without it, `limits.memory`" },
  cpus = schema.number { min = 0.001, doc = "processors to reserve; without it, `limits.cpus`" },
  storage = schema.size {
    min = 1, doc = "the node's disk space to reserve; without it, `limits.storage`",
  },
}, { default = {}, doc = "what a node must have free for it; `limits` says what it may use" })

local security = schema.record({
  run_as_user = schema.integer {
    min = 0, max = 2147483647,
    doc = "uid it runs as; without it, `user` where that is a number, else 1000",
  },
  run_as_group = schema.integer { min = 0, max = 2147483647, default = 1000, doc = "its gid" },
  fs_group = schema.integer {
    min = 0, max = 2147483647, default = 1000,
    doc = "group that owns its volumes, and gets at the keystore",
  },
  run_as_non_root = schema.boolean { default = true, doc = "refuse to run it as root" },
  read_only_root = schema.boolean {
    default = false, doc = "the image's files cannot be written; `/mnt/data` and `/tmp` can",
  },
  allow_privilege_escalation = schema.boolean {
    default = false, doc = "what it executes may gain privileges (setuid)",
  },
  capabilities = schema.list(schema.string { pattern = "^[A-Z_]+$" }, {
    default = {}, doc = "capabilities to add, such as `NET_BIND_SERVICE`; all others are dropped",
  }),
  seccomp = schema.string {
    default = "RuntimeDefault", expected = "`RuntimeDefault`, `Unconfined` or `localhost/PROFILE`",
    check = checks.seccomp,
    doc = "filter of system calls: `RuntimeDefault`, `Unconfined` or `localhost/PROFILE`",
  },
}, { default = {}, doc = "what it may do on its node" })

local data = schema.record({
  kind = schema.enum {
    "empty", "host", "claim",
    doc = "`empty` (the default): gone with the pod; `host`: a directory of the node; `claim`: a "
      .. "PersistentVolumeClaim",
  },
  size = schema.size { min = 1 << 20, doc = "of `empty` or `claim`; without it, `limits.storage`" },
  storage_class = name "for `claim`; without it, the cluster's default",
  access_mode = schema.enum {
    "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod", default = "ReadWriteOnce",
    doc = "for `claim`",
  },
  path = schema.path { doc = "for `host`: the directory; without it, `data_dir`" },
  keep = schema.boolean {
    default = false, doc = "for `claim`: it stays when the deployment is removed",
  },
}, { default = {}, doc = "what is at `/mnt/data`" })

local toleration = schema.record {
  key = schema.string { doc = "key of the taint; without it, every taint" },
  operator = schema.enum { "Equal", "Exists", doc = "`Exists` where `value` is not given" },
  value = schema.string { doc = "value of the taint" },
  effect = schema.enum {
    "NoSchedule", "PreferNoSchedule", "NoExecute", doc = "without it, every effect",
  },
  seconds = schema.integer { min = 0, doc = "for `NoExecute`: it stays so long" },
}

local number = schema.integer { min = 1, max = 65535 }
local port = schema.one_of({
  number,
  schema.record {
    port = schema.integer { min = 1, max = 65535, required = true },
    protocol = schema.enum { "TCP", "UDP", "SCTP", default = "TCP" },
  },
}, { expected = "a port, or `{ port = ..., protocol = ... }`" })

local probes = schema.record({
  liveness = schema.boolean {
    default = true,
    doc = "start it again when `ready` (its `http`, `tcp` or `exec`) no longer holds",
  },
  period = schema.duration {
    min = 1, default = 10, doc = "time between two checks that it lives; whole seconds",
  },
  failures = schema.integer {
    min = 1, default = 6, doc = "checks that fail one after the other before it is started again",
  },
  timeout = schema.duration { min = 1, default = 5, doc = "an answer later than this is none" },
}, { default = {}, doc = "how `ready` goes on to be checked by the node, once it held" })

local M = schema.record({
  namespace = schema.string {
    check = syntax.namespace, doc = "namespace it runs in; without it, the site's, or `blueprints`",
  },
  kubeconfig = schema.path { doc = "the kubeconfig; without it, the site's, or as for kubectl" },
  context = schema.string { doc = "context of the kubeconfig; without it, the site's, or its own" },

  image_pull_policy = schema.enum {
    "Always", "IfNotPresent", "Never",
    doc = "when a node pulls the image; without it `Always` for the tag `latest`, else "
      .. "`IfNotPresent`",
  },
  image_pull_secrets = schema.list(schema.string { check = syntax.object_name }, {
    default = {}, doc = "Secrets of the namespace by which the registry is entered",
  }),
  run_word = schema.boolean {
    default = true,
    doc = "arguments begin with `run`; false where the image's entrypoint ends with it",
  },
  working_dir = schema.string {
    pattern = "^/", expected = "an absolute path", doc = "where it runs; without it, the image's",
  },

  replicas = schema.integer {
    min = 1, max = 10000, default = 1, doc = "how many pods; with several, a StatefulSet has them",
  },
  rolling = schema.boolean {
    default = false,
    doc = "a StatefulSet also for one replica: it can be scaled without a new start",
  },

  runtime_class = name "RuntimeClass to use; without it, `isolation` decides",
  gpu = gpu,
  requests = requests,
  security = security,
  keystore = schema.enum {
    "secret", "host", default = "secret",
    doc = "how the keystore gets there: as a Secret, or as the node's own directory",
  },
  data = data,
  ports = schema.map(port, {
    key = syntax.port_name, default = {},
    doc = "ports it listens on, by name: `{ metrics = 9464 }`",
  }),
  probes = probes,

  node_selector = labels "labels that its node must have",
  tolerations = schema.list(toleration, { default = {}, doc = "taints of nodes that it bears" }),
  priority_class = name "its PriorityClass",
  service_account = name "its ServiceAccount; without it, the namespace's default",
  service_account_token = schema.boolean {
    default = false, doc = "the account's token is given to it",
  },
  service_links = schema.boolean {
    default = false, doc = "variables of the namespace's Services are given to it",
  },
  host_address = schema.string {
    check = syntax.host,
    doc = "address by which pods reach this host; without it, moonport finds it",
  },
  host_ports = schema.list(number, {
    default = {},
    doc = "further TCP ports of this host to reach, at the host name `blueprint-service`",
  }),
  host_aliases = schema.map(schema.string { check = syntax.address }, {
    key = syntax.host_key, default = {},
    doc = "host names to resolve in the pod: `{ [\"node.lan\"] = \"10.0.0.7\" }`",
  }),
  labels = labels("further labels", syntax.own_key),
  annotations = schema.map(schema.string {}, {
    key = syntax.own_key, default = {}, doc = "further annotations",
  }),
  force = schema.one_of({ schema.boolean {}, schema.list(schema.string {}) }, {
    default = false,
    expected = "true, false or a list of field paths",
    doc = "take fields of our objects that another field manager owns: all, or those listed",
  }),
}, { default = {}, doc = "what belongs to the container target alone" })

M.manifest = checks.whole

return M
