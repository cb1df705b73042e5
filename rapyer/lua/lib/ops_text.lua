-- Operations on strings.
--- @include "lib/prelude"

local function text_family(name, key, path)
  -- ARGV: a JSON string.
  if name == "text.append" then
    local suffix = take()
    local reply = alone and redis.pcall("JSON.STRAPPEND", key, path, suffix)
    if reply and reply[1] then return function() end end
    local kind, code, detail = kind_at(key, path, "string")
    if not kind then return nil, code, detail end
    return function()
      redis.call("JSON.STRAPPEND", key, path, suffix)
    end
  end
end
