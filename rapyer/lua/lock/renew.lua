--- Gives held locks a new lease.
--
-- KEYS    locks...
-- ARGV    for each: "fence" and the fencing number, or "owner" and the token where the number may not be known yet;
--         lease in milliseconds
-- RETURNS for each 1, or 0 where the lock is held no more
-- ERRORS  -
-- FLAGS   repeatable allow-oom
--- @include "lib/prelude"

local held = {}
for i, lock in ipairs(KEYS) do
  local field, value, lease = take(), take(), take()
  held[i] = 0
  -- What is no hash at all is no reason to let the others go.
  if redis.pcall("HGET", lock, field) == value then held[i] = redis.call("PEXPIRE", lock, lease) end
end
return held
