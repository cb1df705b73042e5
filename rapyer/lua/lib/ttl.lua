-- Expiry in the script that writes, so that no document is ever left without it.

-- milliseconds: as text; empty when the model has no ttl.
local function expire(key, milliseconds)
  if milliseconds ~= "" then redis.call("PEXPIRE", key, milliseconds) end
end
