local contract = require "moonport.contract"

describe("the blueprint contract", function()
  it("gives the variables that have a value and the manifest's own, and nothing else", function()
    local env = contract.environment({
      http_rpc_url = "http://127.0.0.1:8545",
      blueprint_id = 0,
      service_id = 7,
      protocol = "eigenlayer",
      bootnodes = { "/ip4/1", "/ip4/2" },
      env = { RUST_LOG = "info" },
    }, { data_dir = "/data", keystore = "/keys" })
    assert.same({
      HTTP_RPC_URL = "http://127.0.0.1:8545",
      KEYSTORE_URI = "/keys",
      DATA_DIR = "/data",
      BLUEPRINT_ID = "0",
      SERVICE_ID = "7",
      PROTOCOL = "eigenlayer",
      BOOTNODES = "/ip4/1,/ip4/2",
      RUST_LOG = "info",
    }, env)
  end)

  it("puts a blueprint into registration mode", function()
    local env = contract.environment({ registration = {} }, { registration_output = "/out.json" })
    assert.equal("true", env.REGISTRATION_MODE_ON)
    assert.equal("/out.json", env.REGISTRATION_OUTPUT_PATH)
  end)

  it("shows the service the address by which it reaches the chain", function()
    local env = contract.environment({ http_rpc_url = "http://127.0.0.1:8545" },
      { http_rpc_url = "http://172.16.0.1:8545" })
    assert.equal("http://172.16.0.1:8545", env.HTTP_RPC_URL)
  end)

  it("begins with run, then the flags in their order, then the rest by name", function()
    assert.same({ "run", "--test-mode", "--pretty", "-vv", "--dry-run", "--a-key", "1", "--b" },
      contract.arguments {
        args = { dry_run = true, verbose = 2, pretty = true, test_mode = true, b = true,
          a_key = 1, off = false },
      })
    assert.same({ "run" }, contract.arguments {})
    assert.same({ "run", "-v" }, contract.arguments { args = { verbose = true, pretty = false } })
  end)
end)
