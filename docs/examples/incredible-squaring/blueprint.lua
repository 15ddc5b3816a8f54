-- moonport deploy blueprint.lua
--
-- Start a development node first, for example `npx ganache`, and build the binary with `make`.
return {
  name = "incredible-squaring",
  target = "native", -- native | container | hypervisor

  -- Which service of which blueprint this is, and the chain it follows.
  blueprint_id = 0,
  service_id = 0,
  protocol = "eigenlayer",
  chain = "local_testnet",
  http_rpc_url = "http://127.0.0.1:8545",
  ws_rpc_url = "ws://127.0.0.1:8545",

  -- The account it runs as. Without it that is yours; a root operator has to say.
  -- user = "squaring",

  -- A directory that only its owner may enter: mkdir -m 700 keystore
  keystore = "./keystore",

  binary = "./incredible-squaring",
  image = "incredible-squaring:latest",
  args = { test_mode = true, verbose = 1 },
  env = { METRICS_ADDR = "127.0.0.1:9464" },

  limits = { memory = "64MiB", cpus = 0.5 },
  restart = { policy = "on-failure", max = 5 },
  ready = { http = "http://127.0.0.1:9464/readyz", timeout = "30s" },
}
