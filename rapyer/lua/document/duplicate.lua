--- Writes copies of one value under new keys, all or none.
--
-- KEYS    new documents...
-- ARGV    ttl, value, path of the key field or "", then for each copy its key field's JSON text when there is one
-- RETURNS how many were written
-- ERRORS  KEY_EXISTS
-- FLAGS   -
--- @include "lib/prelude"
--- @include "lib/ttl"

local ttl, value, field = take(), take_value(), take()
local seen = {}
for index, key in ipairs(KEYS) do
  if seen[key] or redis.call("EXISTS", key) == 1 then return fail("KEY_EXISTS", "-", index - 1) end
  seen[key] = true
end
for index, key in ipairs(KEYS) do
  if index == 1 then write(key, "$", value) else redis.call("COPY", KEYS[1], key) end
end
for _, key in ipairs(KEYS) do
  if field ~= "" then redis.call("JSON.SET", key, field, take()) end
  expire(key, ttl)
end
return #KEYS
