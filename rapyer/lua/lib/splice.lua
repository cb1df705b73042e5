-- Members whose names RedisJSON cannot write to by path (a backslash, both kinds of quotes, a leading space). The
-- member's value is put alone under a work key, the operation runs there, and the result is set into the text of the
-- object around it, which is written whole, and only if it reads back as the same text.
--- @include "lib/prelude"
--- @include "lib/json_text"
--- @include "lib/work_keys"

families.splice = function(_, key, path)
  local json = make_json_text()

  local function without(text, first, last)
    local head, tail = string.sub(text, 1, first - 1), string.sub(text, last + 1)
    if string.sub(tail, 1, 1) == "," then return head .. string.sub(tail, 2) end
    return string.gsub(head, ",$", "") .. tail
  end

  local function spliced(text, member_name, value)
    local member, first, last = json.locate(text, member_name)
    if not member then
      if not value then return text end
      return string.sub(text, 1, -2) .. (text == "{}" and "" or ",") .. member_name .. ":" .. value .. "}"
    end
    if not value then return without(text, member, last) end
    return string.sub(text, 1, first - 1) .. value .. string.sub(text, last + 1)
  end

  -- Returns whether the key holds exactly this text now: some doubles cannot be stored by text.
  local function set_text(target, text)
    redis.call("JSON.SET", target, "$", json.readable(text))
    return read(target, "$") == text
  end

  -- Returns a work key with the member alone, and whether it holds the very same value.
  local function prepare(text, member_name)
    local _, first, last = json.locate(text, member_name)
    local alone = first and '{"v":' .. string.sub(text, first, last) .. "}" or "{}"
    depth = depth + 1
    local work = work_keys[key][depth]
    work_keys[work] = work_keys[key]
    return work, set_text(work, alone)
  end

  -- ARGV: the member's name as JSON text, the operation to run, its path below the work key, what it takes.
  local member_name, inner, inner_path = take(), take(), take()
  local text, code, detail = read(key, path)
  local kind = text and kind_of_text(text)
  local work, exact = prepare(kind == "object" and text or "{}", member_name)
  local apply, inner_code, inner_detail = check(inner, work, inner_path)
  depth = depth - 1
  if not text then return nil, code, detail end
  if kind ~= "object" then return nil, "WRONG_TYPE", kind end
  if not apply then return nil, inner_code, inner_detail end
  local _, extra = apply()
  local result = spliced(text, member_name, (read(work, "$.v")))
  if not exact or not set_text(work, result) then return nil, "OUT_OF_RANGE" end
  return function()
    redis.call("JSON.SET", key, path, json.readable(result))
    return nil, extra
  end
end
