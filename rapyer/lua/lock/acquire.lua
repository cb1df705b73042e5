--- Takes a free lock and reads its document.
--
-- KEYS    document, lock
-- ARGV    token, lease in milliseconds, ttl (empty unless reads push the expiry out)
-- RETURNS {1, fencing number, document as JSON text} or {0, milliseconds until the holder's lease ends}
-- ERRORS  KEY_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/prelude"
--- @include "lib/ttl"

local document, lock = KEYS[1], KEYS[2]
local token, lease, ttl = take(), take(), take()

-- Microseconds of the server's clock only grow, and need no counter that would outlive the lock.
local function fencing_number()
  local now = redis.call("TIME")
  return string.format("%d%06d", now[1], now[2])
end

if redis.call("EXISTS", lock) == 1 then return { 0, redis.call("PTTL", lock) } end
local text, code, detail = checked(document, redis.pcall("JSON.GET", document))
if not text then return fail(code, detail) end
local fence = fencing_number()
redis.call("HSET", lock, "owner", token, "fence", fence)
redis.call("PEXPIRE", lock, lease)
expire(document, ttl)
return { 1, fence, text }
