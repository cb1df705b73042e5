-- Finding an element of an array that equals a JSON value.
--- @include "lib/prelude"

local function at(path, index)
  return string.format("%s[%d]", path, index)
end

local function length(key, path)
  return redis.call("JSON.ARRLEN", key, path)[1]
end

-- 1 equals 1.0. Two integers were compared already, and exactly.
local function same_number(a, b)
  if kind_of_text(a) == "integer" and kind_of_text(b) == "integer" then return false end
  return tonumber(a) ~= nil and tonumber(a) == tonumber(b)
end

-- The index of the first element that equals the value: scalars as RedisJSON compares them, others by their text.
local function find(key, path, value)
  local kind = kind_of_text(value.text)
  if kind == "string" or kind == "integer" or kind == "boolean" or kind == "null" then
    local index = redis.call("JSON.ARRINDEX", key, path, value.text)[1]
    if index >= 0 then return index end
  end
  if kind == "string" then return nil end
  for index = 0, length(key, path) - 1 do
    local text = read(key, at(path, index))
    if text == value.text or same_number(text, value.text) then return index end
  end
  return nil
end
