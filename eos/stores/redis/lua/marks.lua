-- Marks travel as partition (2 bytes), epoch and offset (8 bytes each), one after the other.
-- Lets `change` see what is known of each partition beside its offset, and remembers that; does
-- nothing, and gives false, if a newer epoch of one of them exists.
local function mark(packed, change)
  local all = {}
  for at = 1, #packed, 18 do
    local number, epoch, offset = read('>I2I8I8', packed, at)
    local p = all[number] or partition(recall('p' .. number))
    all[number] = p
    if epoch < p.epoch then
      return false
    end
    change(p, offset)
  end
  for number, p in pairs(all) do
    remember(number, p)
  end
  return true
end
