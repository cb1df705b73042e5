-- Finding an element of an array that equals a JSON value.
--- @include "lib/prelude"
--- @include "lib/json_text"

local function at(path, index)
  -- "%s" would end at a NUL in the path.
  return path .. string.format("[%d]", index)
end

local function length(key, path)
  return redis.call("JSON.ARRLEN", key, path)[1]
end

-- The index of the first element that equals the value, or nil. The value's doubles are in their short form.
local function find(key, path, value)
  -- As RedisJSON compares: kind and value, whatever the order of an object's members.
  local function index_of(text)
    local index = redis.call("JSON.ARRINDEX", key, path, text)[1]
    return index >= 0 and index or nil
  end

  local function is_exact(integer)
    return string.format("%.0f", tonumber(integer)) == integer
  end

  -- 1 equals 1.0, unless a digit is lost.
  local function find_integer(text)
    local same = index_of(text)
    local twin = is_exact(text) and index_of(text .. "e0")
    return same and twin and math.min(same, twin) or same or twin or nil
  end

  local function find_double(wanted)
    for index = 0, length(key, path) - 1 do
      local text = read(key, at(path, index))
      if tonumber(text) == wanted and (kind_of_text(text) == "number" or is_exact(text)) then return index end
    end
    return nil
  end

  -- Where a double in it has no text, RedisJSON's own are compared.
  local function find_structure(text)
    local readable = make_json_text().readable
    local wanted = readable(text)
    local index = index_of(wanted)
    if index or wanted == text then return index end
    for other = 0, length(key, path) - 1 do
      if readable(read(key, at(path, other))) == wanted then return other end
    end
    return nil
  end

  local kind = kind_of_text(value.text)
  if kind == "integer" then return find_integer(value.text) end
  if kind == "number" then return find_double(tonumber(value.text)) end
  if kind == "array" or kind == "object" then return find_structure(value.text) end
  return index_of(value.text)
end
