-- Operations on objects. Members come as a path each, quoted by the client; only popitem has to make one.
--- @include "lib/prelude"
--- @include "lib/json_text"
--- @include "lib/members"

families.map = function()
  ops["map.set_item"] = set_member(nil)
  ops["map.update"] = update_members(nil)

  -- ARGV: path of the member.
  ops["map.delete_item"] = function(key, path)
    local member = take()
    local kind, code, detail = expect(key, path, "object")
    if not kind then return nil, code, detail end
    kind, code, detail = kind_at(key, member)
    if not kind then return nil, code == "PATH_NOT_FOUND" and "ENTRY" or code, detail end
    return function()
      redis.call("JSON.DEL", key, member)
    end
  end

  -- ARGV: path of the member. Answers with the removed value, or nothing where there was none.
  ops["map.pop"] = function(key, path)
    local member = take()
    local kind, code, detail = expect(key, path, "object")
    if not kind then return nil, code, detail end
    local popped = read(key, member)
    return function()
      if popped then redis.call("JSON.DEL", key, member) end
      return nil, popped or false
    end
  end

  -- A key that cannot be written to by path is named in a patch.
  local function remove_member(key, path, name)
    redis.call("JSON.MERGE", key, path, "{" .. cjson.encode(name) .. ":null}")
  end

  -- No path can name a member that starts with a space: RedisJSON drops spaces after the opening quote.
  local function read_last(key, path, name)
    if string.sub(name, 1, 1) == " " then return make_json_text().last_value(read(key, path)) end
    return read(key, path .. '["' .. string.gsub(name, '[\\"]', "\\%0") .. '"]')
  end

  -- Removes the last member: the newest one, until a removal lets RedisJSON move it. Answers with its name and value.
  ops["map.pop_item"] = function(key, path)
    local kind, code, detail = expect(key, path, "object")
    if not kind then return nil, code, detail end
    local names = redis.call("JSON.OBJKEYS", key, path)[1]
    local name = names[#names]
    if not name then return nil, "ENTRY" end
    local value = read_last(key, path, name)
    return function()
      remove_member(key, path, name)
      return nil, { name, value }
    end
  end
end
