-- Operations on the whole document.
--- @include "lib/prelude"
--- @include "lib/update"

local function document_family(name, key, path)
  if name == "document.update" then return update_members(key, path, "") end

  local kind = redis.call("TYPE", key).ok
  local replaceable = kind == "none" or kind == "ReJSON-RL"

  -- ARGV: value.
  if name == "document.save" then
    local text, repairs = take_value()
    if not replaceable then return nil, "WRONG_TYPE", kind end
    return function()
      redis.call("JSON.SET", key, "$", text)
      repair(key, "$", repairs)
      return ""
    end
  end

  -- Answers with how many documents were removed: 1 or 0.
  if name == "document.delete" then
    if not replaceable then return nil, "WRONG_TYPE", kind end
    return function()
      return redis.call("DEL", key)
    end
  end
end
