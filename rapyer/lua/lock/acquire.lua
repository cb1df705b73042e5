--- Takes a free lock and reads its document, or queues for it. Who asks again with the same token gets the same answer.
--
-- Where nobody holds the lock but others wait, it is theirs first.
--
-- KEYS    document, lock, queue
-- ARGV    token, lease in milliseconds, ttl (empty unless reads push the expiry out), info about who asks,
--         channel of the caller, ticket to queue (empty: it does not wait)
-- RETURNS {0, {token, fencing number, document as JSON text}} or {milliseconds until the holder's lease ends,
--         the same for another waiter of the caller that was given the lock, or nothing}
-- ERRORS  KEY_NOT_FOUND WRONG_TYPE
-- FLAGS   repeatable
--- @include "lib/give"

local document, lock, queue = KEYS[1], KEYS[2], KEYS[3]
local token, lease, ttl, info, channel, ticket = unpack(ARGV, 1, 6)

-- Mostly there is neither lock nor queue, which one command tells.
local busy = redis.call("EXISTS", lock, queue) > 0
local owner = busy and redis.call("HGET", lock, "owner")
local passed, text, code, detail
if not owner or owner == token then text, code, detail = checked(document, redis.pcall("JSON.GET", document)) end
if busy and (not owner or (owner == token and not text)) and redis.call("EXISTS", queue) == 1 then
  --- @include "lib/serve"
  passed = serve(document, lock, queue, channel, text, owner and redis.call("HGET", lock, "fence"))
  owner = redis.call("HGET", lock, "owner")
end
if owner and owner ~= token then
  local remaining = redis.call("PTTL", lock)
  if ticket ~= "" then
    if not redis.call("LPOS", queue, ticket) then redis.call("RPUSH", queue, ticket) end
    -- The queue outlives those in it, in case all of them die: each asks again before the lease ends that it is told.
    local keep = 2 * math.max(remaining, 0) + 60000
    if redis.call("PTTL", queue) < keep then redis.call("PEXPIRE", queue, string.format("%.0f", keep)) end
  end
  return { remaining, passed or false }
end
if not text then
  if owner then redis.call("DEL", lock) end
  return fail(code, detail)
end
if not owner then return { 0, { token, give(document, lock, nil, token, lease, ttl, info), text } } end
redis.call("PEXPIRE", lock, lease)
return { 0, { token, redis.call("HGET", lock, "fence"), text } }
