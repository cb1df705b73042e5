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
  return kind_at(key, path, "array")
end

-- repairs[i]: of the value whose text is texts[i].
local function append(key, path, texts, repairs)
  local count = #texts
  -- unpack fails from 8,000 elements on.
  for first = 1, count, 1000 do
    redis.call("JSON.ARRAPPEND", key, path, unpack(texts, first, math.min(first + 999, count)))
  end
  for i, repair_it in pairs(repairs) do repair(key, item(path, i - count - 1), repair_it) end
end
