-- Operations on the whole document.
--- @include "lib/prelude"
--- @include "lib/members"

families.document = function(name, key, path)
  local function replaceable()
    local kind = redis.call("TYPE", key).ok
    if kind == "none" or kind == "ReJSON-RL" then return kind end
    return nil, "WRONG_TYPE", kind
  end

  -- ARGV: value.
  if name == "document.save" then
    local value = take_value()
    local ready, code, detail = replaceable()
    if not ready then return nil, code, detail end
    return function()
      write(key, "$", value)
      return ""
    end
  end

  -- Answers with how many documents were removed: 1 or 0.
  if name == "document.delete" then
    local ready, code, detail = replaceable()
    if not ready then return nil, code, detail end
    return function()
      return redis.call("DEL", key)
    end
  end

  if name == "document.update" then return update_members(key, path, "") end
end
