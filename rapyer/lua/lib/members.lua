-- Setting members of objects, for every family that does: with an answer of its own, or nil for the whole object.
--- @include "lib/prelude"

-- objects[key]: whether an earlier check of the same call found that the top level of that document is an object.
local objects = {}

-- Refuses unless the member is there, or what it is to be in is an object. ARGV: path of the member or element, value.
local function set_member(key, path, truth)
  local member, value = take(), take_value()
  local function apply()
    write(key, member, value)
    return truth
  end
  if path == "$" and objects[key] then return apply end
  local kind, code, detail = kind_at(key, member)
  if code == "PATH_NOT_FOUND" then
    kind, code, detail = kind_at(key, path)
    if kind == "array" then return nil, "INDEX" end
    if kind and kind ~= "object" then return nil, "WRONG_TYPE", kind end
  end
  if not kind then return nil, code, detail end
  if path == "$" then objects[key] = string.sub(member, 1, 2) == "$." end
  return apply
end

-- ARGV: how many, then for each the path of the member and the value.
local function update_members(key, path, truth)
  local changes = {}
  for i = 1, take_number() do changes[i] = { take(), take_value() } end
  local kind, code, detail = expect(key, path, "object")
  if not kind then return nil, code, detail end
  return function()
    for _, change in ipairs(changes) do write(key, change[1], change[2]) end
    return truth
  end
end
