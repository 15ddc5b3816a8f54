--- Where things are inside a pod.
-- @module moonport.container.places

return {
  --- The keystore, which cannot be written.
  KEYSTORE = "/mnt/keystore",
  --- DATA_DIR.
  DATA = "/mnt/data",
  --- What a registration run writes. The kubelet reads it when the container has ended, and gives
  -- back up to 4096 bytes of it.
  REGISTRATION = "/mnt/registration.json",
}
