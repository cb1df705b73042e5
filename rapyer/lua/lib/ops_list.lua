-- Operations on arrays.
--- @include "lib/prelude"

families.list = function()
  -- unpack fails from 8,000 elements on.
  local CHUNK = 1000

  local function length(key, path)
    return redis.call("JSON.ARRLEN", key, path)[1]
  end

  local function take_values()
    local values, exact = {}, true
    for i = 1, take_number() do
      values[i] = take_value()
      exact = exact and #values[i] == 0
    end
    return values, exact
  end

  local function append(key, path, values)
    for first = 1, #values, CHUNK do
      local texts = {}
      for i = first, math.min(first + CHUNK - 1, #values) do texts[#texts + 1] = values[i].text end
      redis.call("JSON.ARRAPPEND", key, path, unpack(texts))
    end
  end

  local function at(path, index)
    return string.format("%s[%d]", path, index)
  end

  -- ARGV: how many, the values.
  ops["list.extend"] = function(key, path)
    local values, exact = take_values()
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    return function()
      append(key, path, values)
      if exact then return end
      for i, value in ipairs(values) do repair(key, at(path, i - #values - 1), value) end
    end
  end

  -- An index outside is moved to the nearest end, as Python does. ARGV: index, value.
  ops["list.insert"] = function(key, path)
    local index, value = take_number(), take_value()
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    return function()
      local count = length(key, path)
      if index < 0 then index = math.max(0, index + count) end
      index = math.min(index, count)
      redis.call("JSON.ARRINSERT", key, path, string.format("%d", index), value.text)
      repair(key, at(path, index), value)
    end
  end

  -- ARGV: index, what to do when there is nothing to pop ("refuse" or "none").
  ops["list.pop"] = function(key, path)
    local index, when_empty = take_number(), take()
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    local count = length(key, path)
    if count == 0 and when_empty == "none" then return function() return nil, false end end
    if index >= count or index < -count then return nil, "INDEX" end
    return function()
      local place = at(path, index)
      local popped = read(key, place)
      redis.call("JSON.DEL", key, place)
      return nil, popped
    end
  end

  -- 1 equals 1.0. Two integers were compared already, and exactly.
  local function same_number(a, b)
    if kind_of_text(a) == "integer" and kind_of_text(b) == "integer" then return false end
    return tonumber(a) ~= nil and tonumber(a) == tonumber(b)
  end

  -- The first element that equals the value: scalars as RedisJSON compares them, others by their text.
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

  -- ARGV: value.
  ops["list.remove"] = function(key, path)
    local value = take_value()
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    local index = find(key, path, value)
    if not index then return nil, "VALUE" end
    return function()
      redis.call("JSON.DEL", key, at(path, index))
    end
  end

  -- ARGV: index, value.
  ops["list.set_item"] = function(key, path)
    local index, value = take_number(), take_value()
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    local count = length(key, path)
    if index >= count or index < -count then return nil, "INDEX" end
    return function()
      write(key, at(path, index), value)
    end
  end
end
