-- Setting members of objects, for every family that does: with an answer of its own, or nil for the whole object.
--- @include "lib/prelude"

-- objects[key]: whether an earlier check of the same call found that the top level of that document is an object.
local objects = {}

-- Refuses unless what the member is to be in is an object; an element has to be there. ARGV: path of the member or
-- element, value.
local function set_member(key, path, truth)
  local member, value = take(), take_value()
  local written = alone and succeeds("JSON.SET", key, member, value.text)
  local function apply()
    if not written then redis.call("JSON.SET", key, member, value.text) end
    repair(key, member, value)
    return truth
  end
  if written or (path == "$" and objects[key]) then return apply end
  local element = string.find(member, "%[%-?%d+%]$")
  if element and kind_at(key, member) then return apply end
  local kind, code, detail = kind_at(key, path)
  if not kind then return nil, code, detail end
  if kind ~= (element and "array" or "object") then return nil, "WRONG_TYPE", kind end
  if element then return nil, "INDEX" end
  if path == "$" then objects[key] = true end
  return apply
end

-- ARGV: how many, then for each the path of the member and the value.
local function update_members(key, path, truth)
  local changes = {}
  for i = 1, take_number() do changes[i] = { take(), take_value() } end
  -- What takes one member takes them all.
  local first = alone and changes[1]
  local written = first and succeeds("JSON.SET", key, first[1], first[2].text)
  if not written then
    local kind, code, detail = expect(key, path, "object")
    if not kind then return nil, code, detail end
  end
  return function()
    if written then repair(key, first[1], first[2]) end
    for i = written and 2 or 1, #changes do write(key, changes[i][1], changes[i][2]) end
    return truth
  end
end
