-- Members whose names RedisJSON cannot write to by path (a backslash, both kinds of quotes, a leading space). The
-- member's value is put alone under a work key, the operation runs there, and the result is merged into the object
-- around it, where a patch can name any member.
--- @include "lib/prelude"
--- @include "lib/json_text"
--- @include "lib/work_keys"

families.splice = function(_, key, path)
  local json = make_json_text()

  -- RedisJSON drops spaces before a name in a path: such a member is cut out of the object around it.
  local function member_text(name, place)
    if place ~= "" then return (read(key, place)) end
    local text = read(key, path)
    local _, first, last = json.locate(text, name)
    return first and string.sub(text, first, last)
  end

  -- What RedisJSON reads as this text, or nil: nesting has a limit, and some doubles have no text. Tried on a key.
  local function storable(target, text)
    local readable, exact = json.readable(text)
    return exact and not redis.pcall("JSON.SET", target, "$", readable).err and readable or nil
  end

  -- Members that are null, but not those of objects in an array: a patch sets arrays as they are.
  local function has_null(text)
    local bare = string.gsub(string.gsub(string.gsub(text, "\\.", ""), '"[^"]*"', ""), "%b[]", "")
    return string.find(bare, ":null", 1, true) ~= nil
  end

  -- A patch cannot set null: the object is written whole.
  local function replaced(name, value)
    local text = read(key, path)
    local _, first, last = json.locate(text, name)
    if first then return string.sub(text, 1, first - 1) .. value .. string.sub(text, last + 1) end
    return string.sub(text, 1, -2) .. (text == "{}" and "" or ",") .. name .. ":" .. value .. "}"
  end

  -- ARGV: the member's name as JSON text, its path to read it or "", the operation to run, its path below the work key,
  -- what it takes.
  local name, place, inner, inner_path = take(), take(), take(), take()
  local kind, code, detail = expect(key, path, "object")
  local old = kind and member_text(name, place)
  depth = depth + 1
  local work = work_keys[key][depth]
  work_keys[work] = work_keys[key]
  local ready = storable(work, old and '{"v":' .. old .. "}" or "{}")
  local apply, inner_code, inner_detail = check(inner, work, inner_path)
  depth = depth - 1
  if not kind then return nil, code, detail end
  if not apply then return nil, ready and inner_code or "OUT_OF_RANGE", inner_detail end
  local _, extra = apply()
  local new = read(work, "$.v")
  local patch = "{" .. name .. ":" .. (new or "null") .. "}"
  local whole = new and has_null(patch) and replaced(name, new)
  local text = ready and storable(work, whole or patch)
  if not text then return nil, "OUT_OF_RANGE" end
  return function()
    if whole then
      redis.call("JSON.SET", key, path, text)
    else
      -- What an object is merged into must not be one. A number instead keeps its place among the members.
      if new and kind_of_text(new) == "object" then redis.call("JSON.MERGE", key, path, "{" .. name .. ":0}") end
      redis.call("JSON.MERGE", key, path, text)
    end
    return nil, extra
  end
end
