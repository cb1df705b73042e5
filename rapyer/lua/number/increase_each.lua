--- Adds amounts to integers of several documents, one after the other, each as if it came alone.
--
-- KEYS    documents...
-- ARGV    ttl, path, then for each document: count, amounts...
-- RETURNS for each amount the new value, or its refusal as an error
-- ERRORS  KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE OUT_OF_RANGE
-- FLAGS   -
--- @include "lib/prelude"
--- @include "lib/ttl"
--- @include "lib/ops_number"

local ttl, path = take(), take()
local answers = {}

local function add(key, count)
  local text, code, detail = read_number(key, path, true)
  if not text then return code, detail end
  local first, changed = #answers, false
  for i = 1, count do
    local sum
    sum, code = exact("add", text, take())
    answers[first + i] = sum or fail(code)
    if sum then text, changed = sum, true end
  end
  if changed then
    redis.call("JSON.SET", key, path, text)
    expire(key, ttl)
  end
  return nil
end

for _, key in ipairs(KEYS) do
  local count, first = tonumber(take()), #answers
  local last_word = position + count
  -- Whatever is wrong with one document, the others' callers get their sums.
  local done, code, detail = pcall(add, key, count)
  if not done or code then
    local refusal = code
    if done then
      refusal = fail(code, detail)
    elseif type(code) ~= "table" then
      refusal = redis.error_reply(code)
    end
    for i = 1, count do answers[first + i] = refusal end
    position = last_word
  end
end
return answers
