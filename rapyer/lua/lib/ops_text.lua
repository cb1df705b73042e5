-- Operations on strings.
--- @include "lib/prelude"

families.text = function(name, key, path)
  -- ARGV: a JSON string.
  if name == "text.append" then
    local suffix = take()
    if alone and succeeds("JSON.STRAPPEND", key, path, suffix) then return function() end end
    local kind, code, detail = expect(key, path, "string")
    if not kind then return nil, code, detail end
    return function()
      redis.call("JSON.STRAPPEND", key, path, suffix)
    end
  end
end
