--- Manifests and contexts for the specs of the container target's pure parts.
return dofile(os.getenv "MP_SOURCE_DIR" .. "/tests/spec/target_helper.lua")(
  "container", require "moonport.container.manifest", { image = "squaring:1.2" })
