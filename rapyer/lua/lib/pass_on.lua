-- Handing a lock on.
--- @include "lib/prelude"

-- Takes the lock from its owner and gives it to the waiter of the caller that ARGV names, else to the first ticket, else
-- to nobody. ARGV: channel of the caller; then, unless that is nobody: token, lease, ttl, info. last: the owner's number.
-- Returns {token, fence, document} if the new owner belongs to the caller.
local function pass_on(document, lock, queue, last)
  local channel, token = take(), take()
  if not token and redis.call("EXISTS", queue) == 0 then
    redis.call("DEL", lock)
    return nil
  end
  --- @include "lib/serve"
  local text = (checked(document, redis.pcall("JSON.GET", document)))
  if not text or not token then return serve(document, lock, queue, channel, text, last) end
  return { token, give(document, lock, last, token, take(), take(), take()), text }
end
