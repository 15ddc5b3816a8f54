local isolation = require "moonport.container.isolation"

local function class(name, handler)
  return { metadata = { name = name }, handler = handler or name }
end

local function refusal(...)
  local ok, err = pcall(isolation.choose, ...)
  assert.is_false(ok)
  assert.equal("container", err.kind)
  return err
end

local KATA = { name = "kata", handler = "kata" }

describe("isolation", function()
  it("`any` runs plain, whatever the cluster has", function()
    assert.is_nil(isolation.choose("any", {}))
    assert.is_nil(isolation.choose("any", { class "kata" }))
  end)

  for _, wanted in ipairs { "preferred", "required" } do
    describe(("`%s`"):format(wanted), function()
      it("takes a class by its name", function()
        local classes = { class("gvisor", "runsc"), class("kata-vm", "hypervisor") }
        assert.same({ name = "kata-vm", handler = "hypervisor" },
          isolation.choose(wanted, classes))
      end)

      it("takes a class by its handler alone, under the name that the cluster has", function()
        local classes = { class("gvisor", "runsc"), class("sandboxed", "kata-clh") }
        assert.same({ name = "sandboxed", handler = "kata-clh" },
          isolation.choose(wanted, classes))
      end)

      it("takes a class that the site names, before any other", function()
        local classes = { class "kata", class("vms", "runu"), class("more-vms", "runx") }
        local site = { runtime_classes = { "gone", "more-vms", "vms" } }
        assert.same({ name = "more-vms", handler = "runx" },
          isolation.choose(wanted, classes, site))
      end)

      it("prefers plain Kata to what needs special hardware, in any order of listing", function()
        local listed = { "kata-remote", "kata-qemu-tdx", "kata-fc", "kata-qemu", "kata-qemu-snp" }
        local classes = {}
        for index, name in ipairs(listed) do classes[index] = class(name) end
        assert.equal("kata-qemu", isolation.choose(wanted, classes).name)
        table.insert(classes, class "kata")
        assert.same(KATA, isolation.choose(wanted, classes))
        table.remove(classes, 4)
        table.remove(classes)
        assert.equal("kata-fc", isolation.choose(wanted, classes).name)
      end)

      it("prefers a handler that is Kata's to a name that says so", function()
        local classes = { class("kata", "mystery"), class("vm", "kata-qemu") }
        assert.equal("vm", isolation.choose(wanted, classes).name)
      end)

      it("knows every handler of kata-deploy, and the older names", function()
        for _, handler in ipairs {
          "kata", "kata-qemu", "kata-clh", "kata-fc", "kata-dragonball", "kata-stratovirt",
          "kata-remote", "kata-cc", "kata-qemu-coco-dev", "io.containerd.kata.v2", "kata2",
          "cloud-hypervisor-kata", "Kata-QEMU",
        } do
          assert.same({ name = "x", handler = handler },
            isolation.choose(wanted, { class("x", handler) }))
        end
      end)
    end)
  end

  it("`preferred` runs plain where there is no VM boundary", function()
    assert.is_nil(isolation.choose("preferred", {}))
    assert.is_nil(isolation.choose("preferred", { class("gvisor", "runsc"), class("x", "runc") }))
  end)

  it("is not fooled by a name that says Kata over a handler that is none", function()
    for _, handler in ipairs { "runc", "crun", "runsc", "nvidia" } do
      assert.is_nil(isolation.choose("preferred", { class("kata", handler) }))
    end
  end)

  it("is not fooled by a word that holds `kata` by chance", function()
    assert.is_nil(isolation.choose("preferred", { class("katamaran", "x"), class("y", "skata") }))
  end)

  it("`required` without a VM boundary is refused, with what there is and what to do", function()
    local err = refusal("required", { class("gvisor", "runsc"), class("fast", "crun") })
    assert.equal("refused", err.code)
    assert.truthy(err.message:find("no RuntimeClass of the cluster gives a VM boundary", 1, true))
    assert.truthy(err.hint:find("`fast` (handler `crun`), `gvisor` (handler `runsc`)", 1, true))
    assert.truthy(err.hint:find("kube = { runtime_classes = { \"NAME\" } }", 1, true))
    assert.truthy(refusal("required", {}).hint:find("it has no RuntimeClass at all", 1, true))
  end)

  describe("with a class that the manifest names", function()
    it("uses it, also for `any`", function()
      local classes = { class "kata", class("gvisor", "runsc") }
      for _, wanted in ipairs { "any", "preferred" } do
        assert.same({ name = "gvisor", handler = "runsc" },
          isolation.choose(wanted, classes, nil, "gvisor"))
      end
      assert.same(KATA, isolation.choose("required", classes, nil, "kata"))
    end)

    it("refuses one that the cluster does not have, with the nearest name", function()
      local err = refusal("any", { class "kata-qemu", class "gvisor" }, nil, "kata-qmeu")
      assert.equal("not_found", err.code)
      assert.truthy(err.hint:find("`kata-qemu`", 1, true))
      assert.truthy(refusal("any", {}, nil, "kata").hint:find("no RuntimeClass at all", 1, true))
    end)

    it("refuses one without a VM boundary where that is required", function()
      local classes = { class("gvisor", "runsc"), class "kata" }
      local err = refusal("required", classes, nil, "gvisor")
      assert.equal("refused", err.code)
      assert.truthy(err.message:find("`gvisor` (handler `runsc`)", 1, true))
    end)

    it("believes the site about one", function()
      local classes = { class("vms", "runc") }
      assert.same({ name = "vms", handler = "runc" },
        isolation.choose("required", classes, { runtime_classes = { "vms" } }, "vms"))
    end)
  end)
end)
