--- Reads many documents; those that are gone or no documents are left out.
--
-- KEYS    documents...
-- ARGV    -
-- RETURNS for each key its JSON text or nothing
-- ERRORS  -
-- FLAGS   no-writes
--- @include "lib/prelude"

local texts = {}
for i, key in ipairs(KEYS) do
  texts[i] = (checked(key, redis.pcall("JSON.GET", key))) or false
end
return texts
