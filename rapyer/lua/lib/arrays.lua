-- Places in arrays, and growing them.
--- @include "lib/prelude"

local function item(path, index)
  -- "%s" would end at a NUL in the path.
  return path .. string.format("[%d]", index)
end

-- How many elements the array at a path has, or a refusal.
local function length(key, path)
  local reply, code, detail = checked(key, redis.pcall("JSON.ARRLEN", key, path))
  if reply and reply[1] then return reply[1] end
  if not reply then return nil, code, detail end
  return expect(key, path, "array")
end

local function append(key, path, values)
  -- unpack fails from 8,000 elements on.
  for first = 1, #values, 1000 do
    local texts = {}
    for i = first, math.min(first + 999, #values) do texts[#texts + 1] = values[i].text end
    redis.call("JSON.ARRAPPEND", key, path, unpack(texts))
  end
  for i, value in ipairs(values) do
    if value[1] then repair(key, item(path, i - #values - 1), value) end
  end
end
