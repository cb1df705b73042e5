--- Gives held locks a new lease.
--
-- KEYS    locks...
-- ARGV    for each: token, lease in milliseconds
-- RETURNS for each 1, or 0 where the lock is held no more
-- ERRORS  -
-- FLAGS   repeatable
--- @include "lib/prelude"

local held = {}
for i, lock in ipairs(KEYS) do
  local token, lease = take(), take()
  held[i] = 0
  if redis.call("HGET", lock, "owner") == token then held[i] = redis.call("PEXPIRE", lock, lease) end
end
return held
