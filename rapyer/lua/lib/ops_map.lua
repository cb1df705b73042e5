-- Operations on objects. Members come as a path each, quoted by the client; only popitem has to make one.
--- @include "lib/prelude"
--- @include "lib/members"
--- @include "lib/update"

local function map_family(name, key, path)
  if name == "map.set_item" then return set_member(key, path) end
  if name == "map.update" then return update_members(key, path) end

  -- ARGV: path of the member.
  if name == "map.delete_item" then
    local member = take()
    local kind, code, detail = kind_at(key, member)
    if code == "PATH_NOT_FOUND" then
      kind, code, detail = kind_at(key, path, "object")
      if kind then return nil, "ENTRY" end
    end
    if not kind then return nil, code, detail end
    return function()
      redis.call("JSON.DEL", key, member)
    end
  end

  -- ARGV: path of the member. Answers with the removed value, or nothing where there was none.
  if name == "map.pop" then
    local member = take()
    local popped, code, detail = read(key, member)
    if code == "PATH_NOT_FOUND" then
      local kind
      kind, code, detail = kind_at(key, path, "object")
      if kind then code = nil end
    end
    if code then return nil, code, detail end
    return function()
      if popped then redis.call("JSON.DEL", key, member) end
      return nil, popped or false
    end
  end

  -- Removes the last member: the newest one, until a removal lets RedisJSON move it. Answers with its name and value.
  if name == "map.pop_item" then
    local kind, code, detail = kind_at(key, path, "object")
    if not kind then return nil, code, detail end
    local names = redis.call("JSON.OBJKEYS", key, path)[1]
    local last = names[#names]
    if not last then return nil, "ENTRY" end
    local value
    if string.sub(last, 1, 1) == " " then
      -- No path can name such a member: RedisJSON drops spaces after the opening quote.
      --- @include "lib/json_text"
      value = make_json_text().last_value(read(key, path))
    else
      value = read(key, path .. '["' .. string.gsub(last, '[\\"]', "\\%0") .. '"]')
    end
    return function()
      -- A name that cannot be written to by path is named in a patch.
      redis.call("JSON.MERGE", key, path, "{" .. cjson.encode(last) .. ":null}")
      return nil, { last, value }
    end
  end
end
