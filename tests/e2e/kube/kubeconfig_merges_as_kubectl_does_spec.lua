--- Kubeconfigs resolved as the real kubectl does: each case is a few files, a list of them and
-- options, given to both. (Where a context names a user that is missing, kubectl asks the person at
-- the terminal for a name, and we refuse: "asks".) Compared are what `kubectl config view` shows,
-- where a request of kubectl goes, and whether it refuses the configuration.
local fs = require "moonport.fs"
local json = require "moonport.json"
local process = require "moonport.process"
local crypto = require "moonport.crypto"

local kubectl, dir

setup(function()
  local built = process.run { os.getenv "MP_CLUSTER", "build" }.stdout
  kubectl = fs.join(built:match "(%S+)%s*$", "kubectl")
  dir = fs.temp_dir()
end)

teardown(function() fs.remove_tree(dir) end)

-- Nothing listens on port 1, so a request that is tried fails at once, and tells where it went.
local A = [[
current-context: here
clusters:
- name: red
  cluster: {server: 'https://127.0.0.1:1', certificate-authority: ca.pem, tls-server-name: red}
- name: green
  cluster: {server: 'https://127.0.0.2:1/some/prefix/'}
users:
- name: alice
  user: {client-certificate: pki/alice.pem, client-key: pki/alice.key}
- name: bob
  user: {token: bobs-token, as: jane, as-groups: [one, two]}
contexts:
- name: here
  context: {cluster: red, user: alice, namespace: moon}
- name: green
  context: {cluster: green, user: bob}
]]

local B = [[
current-context: there
clusters:
- name: red
  cluster: {server: 'https://127.0.0.3:1', proxy-url: 'http://127.0.0.1:1'}
- name: blue
  cluster: {server: 'https://127.0.0.4:1', insecure-skip-tls-verify: true}
users:
- name: alice
  user: {username: alice, password: secret}
- name: carol
  user: {tokenFile: carol-token}
contexts:
- name: there
  context: {cluster: blue, user: carol, namespace: far}
- name: here
  context: {cluster: blue, user: carol}
- name: mixed
  context: {cluster: green, user: alice}
]]

local KEYS = {
  ["ca.pem"] = "ca of the top", ["pki/alice.pem"] = "alice", ["pki/alice.key"] = "alice's key",
  ["sub/ca.pem"] = "ca below", ["sub/pki/alice.pem"] = "alice below",
  ["sub/pki/alice.key"] = "alice's key below", ["carol-token"] = "carols-token",
  ["sub/carol-token"] = "carols-token below",
}

local function user(text) return "users:\n- {name: u, user: {" .. text .. "}}\n" end
local function cluster(text) return "clusters:\n- {name: c, cluster: {" .. text .. "}}\n" end
local CONTEXT = "current-context: x\ncontexts:\n- {name: x, context: {cluster: c, user: u}}\n"
local HERE = "server: 'https://127.0.0.1:1'"
local function one(of_user, of_cluster)
  return { a = CONTEXT .. cluster(of_cluster or HERE) .. user(of_user or "") }
end

local CASES = {
  { "one file", { a = A }, "a" },
  { "two files, the first wins", { a = A, b = B }, "a:b" },
  { "two files the other way round", { a = A, b = B }, "b:a" },
  { "a context that only the second has", { a = A, b = B }, "a:b", { context = "there" } },
  { "a context of the second, all else of the first", { a = A, b = B }, "a:b",
    { context = "mixed" } },
  { "a context that both have", { a = A, b = B }, "b:a", { context = "here" } },
  { "a file that does not exist first", { a = A }, "none:a" },
  { "a file that does not exist last", { a = A }, "a:none" },
  { "only files that do not exist", {}, "none:nothing" },
  { "empty names in the list", { a = A, b = B }, ":b::a:" },
  { "a file twice", { a = A, b = B }, "b:a:b" },
  { "an empty file first", { e = "", a = A }, "e:a" },
  { "a comment and white space", { e = "# x\n\n  \n", a = A }, "e:a" },
  { "no current-context in the first", { a = "clusters: []\n", b = B }, "a:b" },
  { "an empty current-context in the first", { a = "current-context: ''\n", b = B }, "a:b" },
  { "a current-context that the second defines", { a = "current-context: there\n", b = B }, "a:b" },
  { "a current-context that nobody defines", { a = "current-context: lost\n", b = B }, "a:b" },
  { "paths relative to their own file", { a = "current-context: here\n", ["sub/b"] = A },
    "a:sub/b" },
  { "paths of two files", { ["sub/a"] = A, b = B }, "b:sub/a", { context = "mixed" } },
  { "a token file relative to its file", { ["sub/b"] = B }, "sub/b" },
  { "JSON", { a = json.encode {
    kind = "Config", apiVersion = "v1", ["current-context"] = "x",
    clusters = { { name = "c", cluster = { server = "https://127.0.0.5:1" } } },
    contexts = { { name = "x", context = { cluster = "c", namespace = "j" } } } } }, "a" },
  { "anchors and merges", { a = CONTEXT .. [[
x-base: &base {server: 'https://127.0.0.6:1', tls-server-name: base}
clusters:
- {name: other, cluster: *base}
- {name: c, cluster: {<<: *base, server: 'https://127.0.0.7:1'}}
users: [{name: u}]
]] }, "a" },
  { "unknown fields", one("nonsense: {a: [1]}, token: abc"), "a" },
  { "fields in another case", one("Token: abc"), "a" },
  { "a second document", { a = A .. "---\ncurrent-context: green\n" }, "a" },
  { "a key twice in a map", one("token: abc, token: def"), "a" },
  { "a name twice in one file", { a = A .. "- {name: here, context: {cluster: green}}\n" }, "a" },
  { "a name twice in the second file",
    { a = A, b = B .. "- {name: mixed, context: {cluster: green}}\n" }, "a:b" },
  { "null sections", { a = A, b = "clusters:\nusers: ~\ncontexts: null\n" }, "b:a" },
  { "a broken second file", { a = A, b = "users: [" }, "a:b" },
  { "a list for a map", { a = "[]" }, "a" },
  { "a map for a list", { a = "users: {}" }, "a" },
  { "another kind", { a = "kind: Pod\n" .. A }, "a" },
  { "another version", { a = "apiVersion: v2\n" .. A }, "a" },
  { "a token that looks like a number", one("token: 1_000"), "a" },
  { "a token that looks like a float", one("token: 1.5e3"), "a" },
  { "a token that looks like hexadecimal", one("token: 0x1F"), "a" },
  { "a token that looks like a boolean", one("token: on"), "a" },
  { "a token of one letter that does", one("token: y"), "a" },
  { "a token that looks like a date", one("token: 2020-01-01"), "a" },
  { "a token that looks like a time", one("token: 12:30"), "a" },
  { "a token in quotes", one("token: '12'"), "a" },
  { "a token that is null", one("token: ~"), "a" },
  { "a boolean in quotes", one("", HERE .. ", insecure-skip-tls-verify: 'true'"), "a" },
  { "a boolean as YAML 1.1 writes it", one("", HERE .. ", insecure-skip-tls-verify: yes"), "a" },
  { "data that is not base64", one("", HERE .. ", certificate-authority-data: '***'"), "a" },
  { "no server", one("", "tls-server-name: x"), "a" },
  { "a server without scheme", one("", "server: '127.0.0.8:1'"), "a" },
  { "a server without scheme, with TLS implied",
    one("", "server: '127.0.0.8:1', insecure-skip-tls-verify: true"), "a" },
  { "a server with a query", one("", "server: 'https://127.0.0.8:1/a?x=y#z'"), "a" },
  { "a token and a user name", one("token: abc, username: u"), "a" },
  { "a certificate without its key", one("client-certificate-data: aGVs"), "a" },
  { "a plugin without version", one("exec: {command: 'true'}"), "a" },
  { "a plugin without command",
    one("exec: {apiVersion: client.authentication.k8s.io/v1beta1}"), "a" },
  { "a CA and insecure",
    one("", HERE .. ", insecure-skip-tls-verify: true, certificate-authority: ca.pem"), "a" },
  { "a context without cluster",
    { a = "current-context: x\ncontexts: [{name: x, context: {user: u}}]\n" .. user "" }, "a" },
  { "a context whose cluster is missing", { a = CONTEXT .. user "" }, "a" },
  { "a context whose user is missing", { a = CONTEXT .. cluster(HERE) }, "a", {}, "asks" },
  { "a context whose user is missing, and a token", { a = CONTEXT .. cluster(HERE) }, "a",
    { token = "abc" } },
  { "no context at all", { a = cluster(HERE) .. user "token: abc" }, "a" },
  { "an option for the cluster", { a = A, b = B }, "a:b", { cluster = "blue" } },
  { "an option for the user", { a = A, b = B }, "a:b", { user = "bob" } },
  { "options for cluster and user without a context", { a = cluster(HERE) .. user "token: abc" },
    "a", { cluster = "c", user = "u" } },
  { "an option for the server", { a = A }, "a", { server = "https://127.0.0.9:1" } },
  { "an option for the server alone", {}, "none", { server = "https://127.0.0.9:1" } },
  { "an option for a context that is missing", { a = A }, "a", { context = "none" } },
  { "an option for a cluster that is missing", { a = A }, "a", { cluster = "none" } },
  { "an option for a user that is missing", { a = A }, "a", { user = "none" } },
  { "an option that undoes a CA", { a = A }, "a", { insecure = true } },
  { "the file that is named by option", { a = A, b = B }, "a", { kubeconfig = "b" } },
  { "a file by option that does not exist", { a = A }, "a", { kubeconfig = "none" } },
}

local FLAGS = { context = "--context", cluster = "--cluster", user = "--user", token = "--token",
  server = "--server", kubeconfig = "--kubeconfig", insecure = "--insecure-skip-tls-verify" }

-- ---- the two sides

local function lay_out(home, files)
  for name, text in pairs(KEYS) do files[name] = files[name] or text end
  for name, text in pairs(files) do
    fs.mkdirs(fs.dirname(fs.join(home, name)))
    fs.write(fs.join(home, name), text)
  end
end

local function absolute(home, list)
  return (list:gsub("[^:]+", function(name) return fs.join(home, name) end))
end

local function run_kubectl(home, list, options, ...)
  local command = { kubectl }
  for name, value in pairs(options) do
    if name == "kubeconfig" then value = fs.join(home, value) end
    table.insert(command, FLAGS[name] .. "=" .. tostring(value))
  end
  for _, word in ipairs { ... } do table.insert(command, word) end
  command.check = false
  command.env = { KUBECONFIG = absolute(home, list), HOME = home, PATH = os.getenv "PATH" }
  return process.run(command)
end

-- Our side runs in a process of its own too, for its environment.
local OURS = [[
  local core, json = require "moonport.core.kube", require "moonport.json"
  local config, err = try(core.config, json.decode(arg[1]))
  if not config then
    print(json.encode { error = tostring(err) })
  else
    print(json.encode { server = config.server, auth = config.auth, rows = config:explain() })
  end]]

local function run_ours(home, list, options)
  local given = {}
  for name, value in pairs(options) do
    given[name] = name == "kubeconfig" and fs.join(home, value) or value
  end
  local result = process.run {
    os.getenv "MOONPORT", "run", "-e", OURS, json.encode(json.object(given)),
    env = { KUBECONFIG = absolute(home, list), HOME = home },
  }
  local answer = json.decode(result.stdout)
  local rows = {}
  for _, row in ipairs(answer.rows or {}) do rows[row.field] = row end
  answer.rows = rows
  return answer
end

-- ---- comparing

-- What kubectl shows in its flattened and minified view, by our names. Files are inline there.
local function view_of(shown)
  local function first(list, body)
    return type(list) == "table" and list[1] and list[1][body] or {}
  end
  local context = first(shown.contexts, "context")
  local at, who = first(shown.clusters, "cluster"), first(shown.users, "user")
  local function bytes(text) return text and crypto.unbase64(text) end
  return {
    context = shown["current-context"], cluster = context.cluster,
    user = context.user ~= "" and context.user or nil,
    namespace = context.namespace or "default",
    ["cluster.tls-server-name"] = at["tls-server-name"],
    ["cluster.proxy-url"] = at["proxy-url"],
    ["cluster.insecure-skip-tls-verify"] = at["insecure-skip-tls-verify"] and "true" or nil,
    ["cluster.certificate-authority"] = bytes(at["certificate-authority-data"]),
    ["user.client-certificate"] = bytes(who["client-certificate-data"]),
    ["user.client-key"] = bytes(who["client-key-data"]),
    ["user.username"] = who.username, ["user.password"] = who.password,
    ["user.token"] = who.token, ["user.as"] = who.as,
    ["user.as-groups[1]"] = who["as-groups"] and who["as-groups"][2],
  }
end

local FIELDS = { "context", "cluster", "user", "namespace", "cluster.tls-server-name",
  "cluster.proxy-url", "cluster.insecure-skip-tls-verify", "cluster.certificate-authority",
  "user.client-certificate", "user.client-key", "user.username", "user.password", "user.token",
  "user.as", "user.as-groups[1]" }

local function line_of(row)
  local text, at = fs.read(row.file), 0
  for line in text:gmatch "([^\n]*)\n?" do
    at = at + 1
    if at == row.line then return line end
  end
end

-- A file is what is in it; a masked value has to stand in the line that it is said to come from.
local function check_field(name, field, row, expected)
  local where = name .. ": " .. field
  if expected == nil then
    assert.is_nil(row and row.value ~= "false" and row.value, where)
    return
  end
  assert.is_not_nil(row, where)
  if row.value == "***" then
    assert.truthy(line_of(row):find(expected, 1, true), where)
  elseif field:find "certificate" or field:find "client%-key$" then
    assert.equal(expected, fs.read(row.value), where)
  else
    assert.equal(expected, row.value, where)
    if row.file and expected ~= "true" then
      assert.truthy(line_of(row):find(expected, 1, true), where)
    end
  end
end

local function check_view(name, home, list, options, ours)
  if options.cluster or options.user or options.server or options.insecure or
    options.token then
    return false
  end
  local result = run_kubectl(home, list, options, "config", "view", "--raw", "--flatten",
    "--minify", "-o", "json")
  if result.code ~= 0 then return false end
  local expected = view_of(json.decode(result.stdout))
  for _, field in ipairs(FIELDS) do check_field(name, field, ours.rows[field], expected[field]) end
  return true
end

-- Where kubectl's request goes; nil where it refuses. Where no user is configured it would ask the
-- person at the terminal, so it is told then. Without any configuration it tries port 8080 of this
-- machine, which is no place to deploy to.
local function target_of(home, list, options)
  local function try_it(...)
    return run_kubectl(home, list, options, "version", "-v=7", "--request-timeout=5s", ...)
  end
  local result = try_it()
  if result.stdout:find "Please enter Username" then result = try_it "--token=told" end
  local url = result.stderr:match "GET (%S+)"
  if not url or url:find("//localhost:8080/", 1, true) then
    return nil, result.stderr:match "error: [^\n]*" or result.stderr
  end
  return (url:gsub("%?.*", ""))
end

-- kubectl reads certificates before it sends anything, and ours here are none.
local BAD_KEYS = { "tls: failed to find any PEM data", "unable to load root certificates",
  "unable to read certificate%-authority" }

local function is_about_keys(text)
  for _, pattern in ipairs(BAD_KEYS) do
    if text:find(pattern) then return true end
  end
  return false
end

describe("as kubectl does it:", function()
  local viewed = 0

  for index, case in ipairs(CASES) do
    local name, files, list, options = case[1], case[2], case[3], case[4] or {}
    it(name, function()
      local home = fs.join(dir, tostring(index))
      lay_out(home, files)
      local ours = run_ours(home, list, options)
      local url, why = target_of(home, list, options)
      if case[5] == "asks" then
        assert.is_not_nil(ours.error)
      elseif url then
        assert.is_nil(ours.error, name)
        assert.equal(url, ours.server .. "/version", name)
      elseif not is_about_keys(why) then
        assert.is_not_nil(ours.error, name .. ": kubectl refuses it: " .. why)
      end
      if not ours.error and check_view(name, home, list, options, ours) then viewed = viewed + 1 end
    end)
  end

  it("in enough cases to tell", function()
    assert.is_true(#CASES >= 60)
    assert.is_true(viewed >= 25, viewed .. " were compared with kubectl's view")
  end)
end)
