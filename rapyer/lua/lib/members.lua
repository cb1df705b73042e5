-- Setting a member of an object, for every family that does: with an answer of its own, or nil for the whole object.
--- @include "lib/prelude"

-- objects[key]: whether an earlier check of the same call found that the top level of that document is an object.
local objects = {}

-- Refuses unless what the member is to be in is an object; an element has to be there. ARGV: path of the member or
-- element, value.
local function set_member(key, path, truth)
  local member, text, repairs = take(), take_value()
  local reply = alone and redis.pcall("JSON.SET", key, member, text)
  if reply and reply.ok then
    return function()
      repair(key, member, repairs)
      return truth
    end
  end
  if path ~= "$" or not objects[key] then
    local element = string.find(member, "%[%-?%d+%]$")
    if not (element and kind_at(key, member)) then
      local kind, code, detail = kind_at(key, path)
      if not kind then return nil, code, detail end
      if kind ~= (element and "array" or "object") then return nil, "WRONG_TYPE", kind end
      if element then return nil, "INDEX" end
      if path == "$" then objects[key] = true end
    end
  end
  return function()
    redis.call("JSON.SET", key, member, text)
    repair(key, member, repairs)
    return truth
  end
end
