-- Operations on arrays.
--- @include "lib/prelude"
--- @include "lib/arrays"
--- @include "lib/find"

local function list_family(name, key, path)
  -- ARGV: how many, the values.
  if name == "list.extend" then
    local texts, repairs = {}, {}
    for i = 1, tonumber(take()) do texts[i], repairs[i] = take_value() end
    local reply = alone and #texts == 1 and redis.pcall("JSON.ARRAPPEND", key, path, texts[1])
    if reply and reply[1] then
      return function() repair(key, item(path, -1), repairs[1]) end
    end
    local kind, code, detail = kind_at(key, path, "array")
    if not kind then return nil, code, detail end
    return function()
      append(key, path, texts, repairs)
    end
  end

  -- An index outside is moved to the nearest end, as Python does. ARGV: index, value.
  if name == "list.insert" then
    local index, text, repairs = tonumber(take()), take_value()
    local count, code, detail = length(key, path)
    if not count then return nil, code, detail end
    return function()
      if index < 0 then index = math.max(0, index + count) end
      index = math.min(index, count)
      redis.call("JSON.ARRINSERT", key, path, string.format("%d", index), text)
      repair(key, item(path, index), repairs)
    end
  end

  -- ARGV: index, what to do when there is nothing to pop ("refuse" or "none").
  if name == "list.pop" then
    local index, when_empty = tonumber(take()), take()
    local count, code, detail = length(key, path)
    if not count then return nil, code, detail end
    if count == 0 and when_empty == "none" then return function() return nil, false end end
    if index >= count or index < -count then return nil, "INDEX" end
    return function()
      local place = item(path, index)
      local popped = read(key, place)
      redis.call("JSON.DEL", key, place)
      return nil, popped
    end
  end

  -- ARGV: value.
  if name == "list.remove" then
    local text = take_value()
    local kind, code, detail = kind_at(key, path, "array")
    if not kind then return nil, code, detail end
    local index = make_find(key, path)(text)
    if not index then return nil, "VALUE" end
    return function()
      redis.call("JSON.DEL", key, item(path, index))
    end
  end

  -- ARGV: index, value.
  if name == "list.set_item" then
    local index, text, repairs = tonumber(take()), take_value()
    local count, code, detail = length(key, path)
    if not count then return nil, code, detail end
    if index >= count or index < -count then return nil, "INDEX" end
    return function()
      local place = item(path, index)
      redis.call("JSON.SET", key, place, text)
      repair(key, place, repairs)
    end
  end
end
