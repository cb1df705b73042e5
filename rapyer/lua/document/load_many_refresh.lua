--- Reads many documents and pushes their expiry out; those that are gone or no documents are left out.
--
-- KEYS    documents...
-- ARGV    ttl
-- RETURNS for each key its JSON text or nothing
-- ERRORS  -
-- FLAGS   repeatable
--- @include "lib/prelude"
--- @include "lib/ttl"

local ttl = take()
local texts = {}
for i, key in ipairs(KEYS) do
  texts[i] = (checked(key, redis.pcall("JSON.GET", key))) or false
  if texts[i] then expire(key, ttl) end
end
return texts
