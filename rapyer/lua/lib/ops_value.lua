-- Operations on a value of any kind.
--- @include "lib/prelude"
--- @include "lib/members"

families.value = function()
  ops["value.set"] = set_member("")

  -- ARGV: kind the value must have, the empty value of that kind.
  ops["value.clear"] = function(key, path)
    local wanted, empty = take(), take()
    local kind, code, detail = expect(key, path, wanted)
    if not kind then return nil, code, detail end
    return function()
      redis.call("JSON.SET", key, path, empty)
    end
  end
end
