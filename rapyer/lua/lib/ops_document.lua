-- Operations on the whole document.
--- @include "lib/prelude"
--- @include "lib/members"

families.document = function()
  local function replaceable(key)
    local kind = redis.call("TYPE", key).ok
    if kind == "none" or kind == "ReJSON-RL" then return kind end
    return nil, "WRONG_TYPE", kind
  end

  -- ARGV: value.
  ops["document.save"] = function(key)
    local value = take_value()
    local ready, code, detail = replaceable(key)
    if not ready then return nil, code, detail end
    return function()
      write(key, "$", value)
      return ""
    end
  end

  -- Answers with how many documents were removed: 1 or 0.
  ops["document.delete"] = function(key)
    local ready, code, detail = replaceable(key)
    if not ready then return nil, code, detail end
    return function()
      return redis.call("DEL", key)
    end
  end

  ops["document.update"] = update_members("")
end
