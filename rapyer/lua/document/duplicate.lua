--- Writes copies of one value under new keys, all or none.
--
-- KEYS    new documents...
-- ARGV    ttl, value, path of the key field or "", then for each copy its key field's JSON text when there is one
-- RETURNS how many were written
-- ERRORS  KEY_EXISTS
-- FLAGS   -
--- @include "lib/prelude"
--- @include "lib/ttl"

local ttl = take()
local text, repairs = take_value()
local field = take()

-- unpack fails from 8,000 elements on.
local CHUNK = 1000

-- The index of the first key that a document has, or another copy.
local function first_taken()
  local seen = {}
  for index = 1, #KEYS do
    local key = KEYS[index]
    if seen[key] then return index end
    seen[key] = true
  end
  for first = 1, #KEYS, CHUNK do
    if redis.call("EXISTS", unpack(KEYS, first, math.min(first + CHUNK - 1, #KEYS))) > 0 then
      for index, key in ipairs(KEYS) do
        if redis.call("EXISTS", key) == 1 then return index end
      end
    end
  end
  return nil
end

local taken = first_taken()
if taken then return fail("KEY_EXISTS", "-", taken - 1) end
if #KEYS > 0 then
  redis.call("JSON.SET", KEYS[1], "$", text)
  repair(KEYS[1], "$", repairs)
end
local call, source = redis.call, KEYS[1]
for index = 2, #KEYS do call("COPY", source, KEYS[index]) end
if field ~= "" or ttl ~= "" then
  for _, key in ipairs(KEYS) do
    if field ~= "" then redis.call("JSON.SET", key, field, take()) end
    expire(key, ttl)
  end
end
return #KEYS
