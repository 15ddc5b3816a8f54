--- The kernel's registers: 16 slots of 4 bytes, with two ways to name the first of each four.
--
-- @module moonport.nft.registers
local M = {}

-- How many slots there are.
M.SLOTS = 16

--- The number of the register that begins at a slot, as the kernel lists it.
-- @tparam integer slot from 0
-- @treturn integer
function M.number(slot)
  return slot % 4 == 0 and slot // 4 + 1 or slot + 8
end

--- The slot at which a register begins.
-- @tparam ?integer number
-- @treturn ?integer nil for the verdict's register, and for none
function M.slot(number)
  if number == 0 or number == nil then
    return nil
  end
  return number < 8 and (number - 1) * 4 or number - 8
end

--- How many slots a value of this size takes.
-- @tparam integer size bytes
-- @treturn integer
function M.slots(size)
  return (size + 3) // 4
end

--- A value as it lies in its slots.
-- @tparam string bytes
-- @treturn string
function M.pad(bytes)
  return bytes .. ("\0"):rep(-#bytes % 4)
end

return M
