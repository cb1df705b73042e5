-- Operations on a value of any kind.
--- @include "lib/prelude"
--- @include "lib/members"

local function value_family(name, key, path)
  if name == "value.set" then return set_member(key, path, "") end

  -- ARGV: kind the value must have, the empty value of that kind.
  if name == "value.clear" then
    local wanted, empty = take(), take()
    local kind, code, detail = kind_at(key, path, wanted)
    if not kind then return nil, code, detail end
    return function()
      redis.call("JSON.SET", key, path, empty)
    end
  end
end
