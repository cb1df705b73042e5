--- Gives a lock back, if it is still held, and hands it to the next; or takes a ticket out of the queue.
--
-- KEYS    document, lock, queue
-- ARGV    token, fencing number ("" for any that the token was given), ticket ("" if there is none); channel of the
--         caller, and if a waiter of the caller's own is next: its token, lease in milliseconds, ttl, info
-- RETURNS {1, {token, fencing number, document as JSON text} of the caller's waiter who holds the lock now or nothing},
--         or {0} where the lock is held no more
-- ERRORS  -
-- FLAGS   allow-oom
--- @include "lib/pass_on"

local token, fence, ticket = take(), take(), take()
local lock, queue = KEYS[2], KEYS[3]
local held = redis.pcall("HMGET", lock, "owner", "fence")
if held[1] ~= token or (fence ~= "" and held[2] ~= fence) then
  if ticket ~= "" then redis.call("LREM", queue, 1, ticket) end
  return { 0 }
end
return { 1, pass_on(KEYS[1], lock, queue, held[2]) }
