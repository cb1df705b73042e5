-- Giving a lock to who waits longest.
--- @include "lib/give"

-- Gives the lock to the first ticket of a live process, with a message, or returns what was given to the caller's own.
-- Without a text all are woken, to learn what became of the document. Documents over a mebibyte are not sent through the
-- subscription, whose buffer the server bounds: their waiters ask for them.
-- last: the number of the owner before, if there is one.
local function serve(document, lock, queue, channel, text, last)
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
