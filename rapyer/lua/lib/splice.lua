-- Members whose names RedisJSON cannot write to by path (a backslash, both kinds of quotes, a leading space). The
-- member's value is put alone under a work key, the operation runs there, and the result is merged into the object
-- around it, where a patch can name any member.
--- @include "lib/prelude"
--- @include "lib/json_text"

local function splice_family(_, key, path)
  local json = make_json_text()
  local id, marked, unmarked = key .. path, scratch.marked, scratch.unmarked

  -- RedisJSON drops spaces before a name in a path: such a member is cut out of the object around it.
  local function member_text(name, place)
    local text = read(key, place == "" and path or place)
    if text and place == "" then
      local _, first, last = json.locate(text, name)
      text = first and string.sub(text, first, last)
    end
    return text and marked[id] and unmarked(text) or text
  end

  -- What RedisJSON reads as this text, or nil: nesting has a limit, and some doubles have no text. Tried on a key.
  local function storable(target, text)
    local readable, exact = json.readable(text)
    return exact and not redis.pcall("JSON.SET", target, "$", readable).err and readable or nil
  end

  local function has_mark(text)
    return text and string.find(text, scratch.MARK, 1, true)
  end

  -- Members that are null, but not those of objects in an array: a patch sets arrays as they are.
  local function has_null(text)
    local bare = string.gsub(string.gsub(string.gsub(text, "\\.", ""), '"[^"]*"', ""), "%b[]", "")
    return string.find(bare, ":null", 1, true)
  end

  -- Whether the object can be written whole. What splices add to it can be.
  local function can_be_whole(work)
    if scratch.depth > 0 or marked[id] then return true end
    local text = read(key, path)
    return not has_mark(text) and storable(work, text)
  end

  -- ARGV: the member's name as JSON text, its path to read it or "", the operation to run, its path below the work key,
  -- what it takes.
  local name, place, inner, inner_path = take(), take(), take(), take()
  local kind, code, detail = kind_at(key, path, "object")
  local replaces = inner_path == "$" and (inner == "value.set" or inner == "map.set_item")
  local old = kind and not replaces and member_text(name, place)
  local work_keys = scratch.work_keys[key]
  scratch.depth = scratch.depth + 1
  local work = work_keys[scratch.depth]
  scratch.work_keys[work] = work_keys
  local ready = not has_mark(old) and storable(work, old and '{"v":' .. old .. "}" or "{}")
  local apply, inner_code, inner_detail = check(inner, work, inner_path)
  scratch.depth = scratch.depth - 1
  if not kind then return nil, code, detail end
  if not apply then return nil, ready and inner_code or "OUT_OF_RANGE", inner_detail end
  local _, extra = apply()
  local new = read(work, "$.v")
  if has_mark(new) then
    ready, new = ready and inner == "splice.apply", unmarked(new)
  end
  local patch = "{" .. name .. ":" .. (new or "null") .. "}"
  local whole = new and has_null(patch)
  if whole then
    patch = "{" .. name .. ":" .. json.replaced(new, "null", scratch.MARK) .. "}"
    ready = ready and can_be_whole(work)
  end
  patch = ready and storable(work, patch)
  if not patch then return nil, "OUT_OF_RANGE" end
  if whole and scratch.depth == 0 then marked[id] = { key = key, path = path } end
  return function()
    -- What an object is merged into must not be one. A number instead keeps its place among the members.
    if new and string.sub(new, 1, 1) == "{" then redis.call("JSON.MERGE", key, path, "{" .. name .. ":0}") end
    redis.call("JSON.MERGE", key, path, patch)
    return nil, extra
  end
end
