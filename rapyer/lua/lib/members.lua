-- Setting members of objects, for every family that does: with an answer of its own, or nil for the whole object.
--- @include "lib/prelude"

-- Refuses unless a value can be put at the member's path: it is there, or what it is to be in is an object.
local function place_ready(key, path, member)
  local kind, code, detail = kind_at(key, member)
  if kind or code ~= "PATH_NOT_FOUND" then return kind, code, detail end
  kind, code, detail = kind_at(key, path)
  if not kind then return nil, code, detail end
  if kind == "array" then return nil, "INDEX" end
  if kind ~= "object" then return nil, "WRONG_TYPE", kind end
  return kind
end

-- ARGV: path of the member or element, value.
local function set_member(truth)
  return function(key, path)
    local member, value = take(), take_value()
    local ready, code, detail = place_ready(key, path, member)
    if not ready then return nil, code, detail end
    return function()
      write(key, member, value)
      return truth
    end
  end
end

-- ARGV: how many, then for each the path of the member and the value.
local function update_members(truth)
  return function(key, path)
    local changes = {}
    for i = 1, take_number() do changes[i] = { take(), take_value() } end
    local kind, code, detail = expect(key, path, "object")
    if not kind then return nil, code, detail end
    return function()
      for _, change in ipairs(changes) do write(key, change[1], change[2]) end
      return truth
    end
  end
end
