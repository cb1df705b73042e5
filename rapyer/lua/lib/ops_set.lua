-- Operations on arrays that hold no element twice. Elements are compared by the text the client gives, which is the
-- one RedisJSON itself would write.
--- @include "lib/prelude"
--- @include "lib/arrays"
--- @include "lib/find"

local function set_family(name, key, path)
  -- From so many elements on, reading the array once costs less than searching it for each.
  local MANY = 4

  -- Values that are neither in the array nor twice among them.
  local function append_missing(members)
    local look_up, indexes = select(2, make_find(key, path))()
    local texts, repairs = {}, {}
    for _, member in ipairs(members) do
      local index, id = look_up(member[1])
      if not index then
        local count = #texts + 1
        texts[count], repairs[count] = member[2], member[3]
        if id then indexes[id] = -1 end
      end
    end
    append(key, path, texts, repairs)
  end

  -- indexes[index]: whether an element of these texts is there.
  local function indexes_of(texts)
    local find, make_lookup = make_find(key, path)
    if #texts > MANY then find = make_lookup() end
    local indexes = {}
    for _, text in ipairs(texts) do
      local index = find(text)
      if index then indexes[index] = true end
    end
    return indexes
  end

  local function take_texts()
    local texts = {}
    for i = 1, tonumber(take()) do texts[i] = take() end
    return texts
  end

  -- From the last to the first, so that the others stay in their places.
  local function delete(indexes)
    table.sort(indexes, function(a, b) return a > b end)
    for _, index in ipairs(indexes) do redis.call("JSON.DEL", key, item(path, index)) end
  end

  -- ARGV: how many, then for each its plain text and the value.
  if name == "set.add" then
    local members = {}
    for i = 1, tonumber(take()) do members[i] = { take(), take_value() } end
    local kind, code, detail = kind_at(key, path, "array")
    if not kind then return nil, code, detail end
    return function()
      if #members > MANY then return append_missing(members) end
      local find = make_find(key, path)
      for _, member in ipairs(members) do
        if not find(member[1]) then append(key, path, { member[2] }, { member[3] }) end
      end
    end
  end

  -- ARGV: how many, their texts.
  if name == "set.discard" then
    local texts = take_texts()
    local kind, code, detail = kind_at(key, path, "array")
    if not kind then return nil, code, detail end
    return function()
      local gone = {}
      for index in pairs(indexes_of(texts)) do gone[#gone + 1] = index end
      delete(gone)
    end
  end

  -- ARGV: text of an element that has to be there.
  if name == "set.remove" then
    local text = take()
    local kind, code, detail = kind_at(key, path, "array")
    if not kind then return nil, code, detail end
    local index = make_find(key, path)(text)
    if not index then return nil, "ENTRY" end
    return function()
      redis.call("JSON.DEL", key, item(path, index))
    end
  end

  -- ARGV: how many, the texts of those to keep.
  if name == "set.keep" then
    local texts = take_texts()
    local kind, code, detail = kind_at(key, path, "array")
    if not kind then return nil, code, detail end
    return function()
      local kept, gone = indexes_of(texts), {}
      for index = 0, length(key, path) - 1 do
        if not kept[index] then gone[#gone + 1] = index end
      end
      delete(gone)
    end
  end

  -- Answers with the element that was added last, removed, or nothing when there is none.
  if name == "set.pop" then
    local kind, code, detail = kind_at(key, path, "array")
    if not kind then return nil, code, detail end
    local popped = read(key, item(path, -1))
    return function()
      if popped then redis.call("JSON.DEL", key, item(path, -1)) end
      return nil, popped or false
    end
  end
end
