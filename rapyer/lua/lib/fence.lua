-- Writes inside a lock block carry the fencing number of every lock the task holds on the document. It names one
-- acquisition: a token may be given the lock again after its lease has ended.
--- @include "lib/prelude"

-- Compares numbers from ARGV with those in the lock keys, the first of which is KEYS[first].
-- Returns how many there were. Whatever else somebody put into a lock's key, the lock is lost.
local function check_locks(first)
  local count = take()
  if count == "0" then return 0 end
  local held = tonumber(count)
  for i = 1, held do
    local fence = redis.pcall("HGET", KEYS[first + i - 1], "fence")
    if fence ~= take() then return nil, "LOCK_LOST", tostring(first + i - 1) end
  end
  return held
end
