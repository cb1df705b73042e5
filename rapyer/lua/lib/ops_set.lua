-- Operations on arrays that hold no element twice. Elements are compared by the text the client gives, which is the
-- one RedisJSON itself would write.
--- @include "lib/prelude"
--- @include "lib/find"

families.set = function(name, key, path)
  -- ARGV: how many, then for each its plain text and the value.
  if name == "set.add" then
    local members = {}
    for i = 1, take_number() do members[i] = { text = take(), value = take_value() } end
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    return function()
      for _, member in ipairs(members) do
        if not find(key, path, member) then
          redis.call("JSON.ARRAPPEND", key, path, member.value.text)
          repair(key, at(path, -1), member.value)
        end
      end
    end
  end

  -- ARGV: how many, their texts.
  if name == "set.discard" then
    local members = {}
    for i = 1, take_number() do members[i] = { text = take() } end
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    return function()
      for _, member in ipairs(members) do
        local index = find(key, path, member)
        if index then redis.call("JSON.DEL", key, at(path, index)) end
      end
    end
  end

  -- ARGV: text of an element that has to be there.
  if name == "set.remove" then
    local member = { text = take() }
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    local index = find(key, path, member)
    if not index then return nil, "ENTRY" end
    return function()
      redis.call("JSON.DEL", key, at(path, index))
    end
  end

  -- ARGV: how many, the texts of those to keep.
  if name == "set.keep" then
    local members = {}
    for i = 1, take_number() do members[i] = { text = take() } end
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    return function()
      local kept = {}
      for _, member in ipairs(members) do
        local index = find(key, path, member)
        if index then kept[index] = true end
      end
      for index = length(key, path) - 1, 0, -1 do
        if not kept[index] then redis.call("JSON.DEL", key, at(path, index)) end
      end
    end
  end

  -- Answers with the element that was added last, removed, or nothing when there is none.
  if name == "set.pop" then
    local kind, code, detail = expect(key, path, "array")
    if not kind then return nil, code, detail end
    local popped = read(key, at(path, -1))
    return function()
      if popped then redis.call("JSON.DEL", key, at(path, -1)) end
      return nil, popped or false
    end
  end
end
