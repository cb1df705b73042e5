-- Giving a lock to who asks for it, or to who waits longest.
--
-- A lock is a hash: owner (a token), fence, info (who holds it). Who waits has a ticket in the lock's queue: lines of
-- token, channel, lease, ttl, info. A ticket whose channel nobody listens to is a dead process's, and is dropped.
--- @include "lib/prelude"
--- @include "lib/ttl"

-- `last` is the number of the owner before, if there was one. Microseconds of the server's clock, and more than the last
-- number: no counter has to outlive the lock.
local function give(document, lock, last, token, lease, ttl, info)
  local now = redis.call("TIME")
  local fence = now[1] * 1000000 + now[2]
  if last and fence <= tonumber(last) then fence = last + 1 end
  fence = string.format("%d", fence)
  redis.call("HSET", lock, "owner", token, "fence", fence, "info", info)
  redis.call("PEXPIRE", lock, lease)
  expire(document, ttl)
  return fence
end
