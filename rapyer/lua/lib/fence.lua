-- Writes inside a lock block carry the token of every lock the task holds on the document.
--- @include "lib/prelude"

-- Compares tokens from ARGV with the owners in the lock keys, the first of which is KEYS[first].
-- Returns how many there were.
local function check_locks(first)
  local held = take_number()
  for i = 1, held do
    local owner = redis.call("HGET", KEYS[first + i - 1], "owner")
    if owner ~= take() then return nil, "LOCK_LOST", tostring(first + i - 1) end
  end
  return held
end
