-- Giving a lock: to who asks for it, or to who waits longest.
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
  fence = string.format("%.0f", fence)
  redis.call("HSET", lock, "owner", token, "fence", fence, "info", info)
  redis.call("PEXPIRE", lock, lease)
  expire(document, ttl)
  return fence
end

-- Gives the lock to the first ticket of a live process, with a message, or returns what was given to the caller's own.
-- Without a text all are woken, to learn what became of the document. Documents over a mebibyte are not sent through the
-- subscription, whose buffer the server bounds: their waiters ask for them.
local function serve(document, lock, queue, channel, text)
  local last = redis.call("HGET", lock, "fence")
  local ticket = redis.call("LPOP", queue)
  while ticket do
    local token, its_channel, lease, ttl, info = string.match(ticket, "^(.-)\n(.-)\n(.-)\n(.-)\n(.*)$")
    local fence = text and give(document, lock, last, token, lease, ttl, info) or ""
    if text and its_channel == channel then return { token, fence, text } end
    local message = token .. "\n" .. fence .. "\n" .. (text and #text <= 1048576 and text or "")
    if redis.call("SPUBLISH", its_channel, message) > 0 and text then return nil end
    ticket = redis.call("LPOP", queue)
  end
  redis.call("DEL", lock)
  return nil
end

-- Takes the lock from its owner and gives it to the waiter of the caller that ARGV names, else to the first ticket, else
-- to nobody. ARGV: channel of the caller, token ("" for nobody), lease, ttl, info.
-- Returns {token, fence, document} if the new owner belongs to the caller.
local function pass_on(document, lock, queue)
  local channel, token = take(), take()
  if token == "" and redis.call("EXISTS", queue) == 0 then
    redis.call("DEL", lock)
    return nil
  end
  local text = (checked(document, redis.pcall("JSON.GET", document)))
  if not text or token == "" then return serve(document, lock, queue, channel, text) end
  return { token, give(document, lock, redis.call("HGET", lock, "fence"), token, take(), take(), take()), text }
end
