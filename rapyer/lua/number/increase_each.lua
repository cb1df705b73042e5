--- Adds amounts to integers of several documents, one after the other, each as if it came alone.
--
-- KEYS    documents...
-- ARGV    ttl, path, then for each document its amounts, with spaces in between
-- RETURNS for each document the value after all its amounts; where some of them are refused, a list with the new value or
--         the refusal of each; where all are, the last refusal
-- ERRORS  KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE OUT_OF_RANGE
-- FLAGS   -
--- @include "lib/prelude"
--- @include "lib/ttl"
--- @include "lib/ops_number"

local ttl, path = take(), take()

local function add(key, amounts)
  local text, code, detail = read_number(key, path, true)
  if not text then return nil, code, detail end
  local answers, refused = {}, 0
  for amount in string.gmatch(amounts, "%S+") do
    local sum
    sum, code = exact("add", text, amount)
    if not sum then refused = refused + 1 end
    text = sum or text
    answers[#answers + 1] = sum or fail(code)
  end
  if refused == #answers then return nil, code end
  redis.call("JSON.SET", key, path, text)
  expire(key, ttl)
  return refused == 0 and text or answers
end

local replies = {}
for i, key in ipairs(KEYS) do
  -- Whatever is wrong with one document, the others' callers get their sums.
  local done, reply, code, detail = pcall(add, key, take())
  if done and not reply then
    reply = fail(code, detail)
  elseif not done and type(reply) ~= "table" then
    reply = redis.error_reply(reply)
  end
  replies[i] = reply
end
return replies
