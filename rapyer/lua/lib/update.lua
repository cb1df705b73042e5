-- Setting some members of an object, all or none.
--- @include "lib/prelude"

-- ARGV: a patch of members that a merge sets as they are; or nothing, how many, then for each the path of the member and
-- the value.
local function update_members(key, path, truth)
  local patch, changes = take(), {}
  if patch == "" then
    for i = 1, tonumber(take()) do changes[i] = { take(), take_value() } end
  end
  -- What takes one member takes them all.
  local first = alone and changes[1]
  local reply = first and redis.pcall("JSON.SET", key, first[1], first[2])
  local written = reply and reply.ok
  if not written then
    local kind, code, detail = kind_at(key, path, "object")
    if not kind then return nil, code, detail end
  end
  return function()
    if patch ~= "" then redis.call("JSON.MERGE", key, path, patch) end
    for i, change in ipairs(changes) do
      local member, text, repairs = unpack(change, 1, 3)
      if i > 1 or not written then redis.call("JSON.SET", key, member, text) end
      repair(key, member, repairs)
    end
    return truth
  end
end
