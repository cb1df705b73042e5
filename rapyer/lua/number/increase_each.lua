--- Adds several amounts to an integer, one after the other, each as if it came alone.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, count, amounts...
-- RETURNS for each the new value, or nothing where the sum would leave 64 bits: that amount is left out
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/prelude"
--- @include "lib/ttl"
--- @include "lib/fence"
--- @include "lib/ops_number"

local key, ttl = KEYS[1], take()
local held, code, detail = check_locks(2)
if not held then return fail(code, detail) end
local path = take()
local text
text, code, detail = read_number(key, path, true)
if not text then return fail(code, detail) end
local answers, taken = {}, false
for i = 1, tonumber(take()) do
  local sum = exact("add", text, take())
  text, answers[i] = sum or text, sum or false
  taken = taken or sum
end
if taken then
  redis.call("JSON.SET", key, path, text)
  expire(key, ttl)
end
return answers
